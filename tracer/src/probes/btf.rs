//! Where the kernel keeps what: offsets of struct members, from its BTF
//! (kernel: Documentation/bpf/btf.rst). Nothing else of BTF is needed here.

/// A parsed BTF blob of native endianness.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Where each type begins in `data`; type ids count from 1.
    types: Vec<usize>,
    /// Where the strings lie in `data`.
    strings: std::ops::Range<usize>,
}

/// What is wrong with a BTF blob.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    /// It does not begin as BTF does.
    #[error("no BTF header")]
    Header,
    /// It ends within a type.
    #[error("truncated at byte {0}")]
    Truncated(usize),
    /// It has a kind of type whose length is unknown.
    #[error("unknown kind {kind} of type at byte {at}")]
    Kind {
        /// The kind.
        kind: u32,
        /// Offset at which the reading failed.
        at: usize,
    },
}

const MAGIC: u16 = 0xeb9f;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Nesting of anonymous members and of modifiers that is followed.
const MAX_DEPTH: u32 = 16;

/// The head of a type.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    members: usize,
    bitfields: bool,
    inner: u32,
}

/// A member of a struct or union.
#[derive(Clone, Copy)]
struct Member {
    name: u32,
    id: u32,
    bits: u32,
}

impl Btf {
    /// Parses a blob such as `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`BtfError`] where it is not BTF.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let word = |at| read_u32(&data, at).ok_or(BtfError::Header);
        let magic = data.get(..2).ok_or(BtfError::Header)?;
        if magic != MAGIC.to_ne_bytes() {
            return Err(BtfError::Header);
        }
        let head = word(4)? as usize;
        let (types_at, types_len) = (head + word(8)? as usize, word(12)? as usize);
        let (strings_at, strings_len) = (head + word(16)? as usize, word(20)? as usize);
        let mut btf = Self {
            types: Vec::new(),
            strings: strings_at..strings_at + strings_len,
            data,
        };
        let mut at = types_at;
        while at < types_at + types_len {
            btf.types.push(at);
            at += btf.type_length(at)?;
        }
        Ok(btf)
    }

    /// Offset in bytes of a member, such as `status` or `thread_info.status`, in
    /// a struct. Members of anonymous structs and unions count as the struct's.
    #[must_use]
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        let mut current = self.structure(structure)?;
        let mut bits = 0;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let (member, before) = self.member(current, step, MAX_DEPTH)?;
            bits += before;
            if steps.peek().is_some() {
                current = self.resolve(member.id)?;
            }
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Whether there is a type of that name, of whatever kind.
    #[must_use]
    pub fn has_type(&self, name: &str) -> bool {
        let mut heads = self.types.iter().filter_map(|&at| self.head(at));
        heads.any(|head| self.string(head.name) == Some(name.as_bytes()))
    }

    fn structure(&self, name: &str) -> Option<Type> {
        self.types
            .iter()
            .filter_map(|&at| self.head(at))
            .find(|head| head.kind == STRUCT && self.string(head.name) == Some(name.as_bytes()))
    }

    /// A member and its offset in bits, through anonymous members.
    fn member(&self, owner: Type, name: &str, depth: u32) -> Option<(Member, u32)> {
        let members = (0..owner.members).filter_map(|index| self.nth_member(owner, index));
        for member in members {
            if member.name != 0 {
                if self.string(member.name) == Some(name.as_bytes()) {
                    return Some((member, member.bits));
                }
            } else if depth > 0
                && let Some(inner) = self.resolve(member.id)
                && let Some((found, bits)) = self.member(inner, name, depth - 1)
            {
                return Some((found, member.bits + bits));
            }
        }
        None
    }

    fn nth_member(&self, owner: Type, index: usize) -> Option<Member> {
        let at = owner.at + TYPE_BYTES + index * MEMBER_BYTES;
        let offset = read_u32(&self.data, at + 8)?;
        Some(Member {
            name: read_u32(&self.data, at)?,
            id: read_u32(&self.data, at + 4)?,
            // With bit fields the upper byte is the width.
            bits: if owner.bitfields {
                offset & 0xff_ffff
            } else {
                offset
            },
        })
    }

    /// The struct or union behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        const THROUGH: [u32; 5] = [8, 9, 10, 11, 18];
        for _ in 0..MAX_DEPTH {
            let at = *self.types.get((id as usize).checked_sub(1)?)?;
            let head = self.head(at)?;
            if head.kind == STRUCT || head.kind == UNION {
                return Some(head);
            }
            if !THROUGH.contains(&head.kind) {
                return None;
            }
            id = head.inner;
        }
        None
    }

    fn head(&self, at: usize) -> Option<Type> {
        let info = read_u32(&self.data, at + 4)?;
        Some(Type {
            at,
            name: read_u32(&self.data, at)?,
            kind: (info >> 24) & 0x1f,
            members: (info & 0xffff) as usize,
            bitfields: info >> 31 != 0,
            inner: read_u32(&self.data, at + 8)?,
        })
    }

    fn type_length(&self, at: usize) -> Result<usize, BtfError> {
        let head = self.head(at).ok_or(BtfError::Truncated(at))?;
        let extra = match head.kind {
            2 | 7..=12 | 16 | 18 => 0,
            1 | 14 | 17 => 4,
            3 => 12,
            6 | 13 => head.members * 8,
            STRUCT | UNION | 15 | 19 => head.members * 12,
            kind => return Err(BtfError::Kind { kind, at }),
        };
        Ok(TYPE_BYTES + extra)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let strings = self.data.get(self.strings.clone())?;
        let tail = strings.get(offset as usize..)?;
        tail.split(|&byte| byte == 0).next()
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { u32 a; struct { union { u64 b; }; inner_t c; }; }` with
    /// `typedef struct inner { u32 x; u32 y; } inner_t`.
    fn blob() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0inner\0x\0y\0inner_t\0";
        let name = |text: &str| {
            let text = format!("{text}\0");
            let found = strings.windows(text.len()).enumerate();
            let mut found = found.filter(|(at, w)| *w == text.as_bytes() && strings[at - 1] == 0);
            found.next().unwrap().0 as u32
        };
        let kind = |kind: u32, members: u32| kind << 24 | members;
        let words = [
            vec![name("int"), kind(1, 0), 4, 32],        // 1
            vec![0, kind(UNION, 1), 8, name("b"), 1, 0], // 2
            vec![
                name("inner"),
                kind(STRUCT, 2),
                8,
                name("x"),
                1,
                0,
                name("y"),
                1,
                32,
            ], // 3
            vec![name("inner_t"), kind(8, 0), 3],        // 4
            vec![0, kind(STRUCT, 2), 16, 0, 2, 0, name("c"), 4, 64], // 5
            vec![
                name("outer"),
                kind(STRUCT, 2),
                24,
                name("a"),
                1,
                0,
                0,
                5,
                64,
            ], // 6
        ]
        .concat();
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        let types = words.len() as u32 * 4;
        for word in [24, 0, types, types, strings.len() as u32]
            .iter()
            .chain(&words)
        {
            data.extend(word.to_ne_bytes());
        }
        data.extend(strings);
        data
    }

    #[test]
    fn offsets_go_through_anonymous_members_and_typedefs() {
        let btf = Btf::parse(blob()).unwrap();
        assert_eq!(btf.offset_of("outer", "a"), Some(0));
        assert_eq!(btf.offset_of("outer", "b"), Some(8));
        assert_eq!(btf.offset_of("outer", "c"), Some(16));
        assert_eq!(btf.offset_of("outer", "c.y"), Some(20));
        assert_eq!(btf.offset_of("outer", "nope"), None);
        assert_eq!(btf.offset_of("nope", "a"), None);
        assert_eq!(btf.offset_of("outer", "a.x"), None);
        assert!(btf.has_type("inner_t") && btf.has_type("outer"));
        assert!(!btf.has_type("nope") && !btf.has_type("inner_"));
    }

    #[test]
    fn damaged_blobs_are_errors() {
        let whole = blob();
        assert_eq!(Btf::parse(Vec::new()).unwrap_err(), BtfError::Header);
        assert_eq!(Btf::parse(vec![0; 64]).unwrap_err(), BtfError::Header);
        let cut = Btf::parse(whole[..40].to_vec());
        assert_eq!(cut.unwrap_err(), BtfError::Truncated(40));
        let mut odd = whole;
        odd[24 + 7] = 31;
        assert_eq!(odd[24 + 7], 31);
        assert_eq!(
            Btf::parse(odd).unwrap_err(),
            BtfError::Kind { kind: 31, at: 24 }
        );
    }

    #[test]
    fn this_kernel_has_what_is_looked_up() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            // Without BTF there is nothing to compare; the loader says so.
            return;
        };
        let btf = Btf::parse(data).unwrap();
        assert!(btf.offset_of("mm_struct", "total_vm").is_some());
        let status = btf.offset_of("task_struct", "thread_info.status");
        assert_eq!(status, btf.offset_of("thread_info", "status"));
    }
}
