//! Limits of memory that the command ran under: known only when it has ended, and so part of the
//! metadata of the stream that is written last.

use serde::{Deserialize, Serialize};

/// What was seen of memory limits while the command ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The command's memory cgroup.
    pub cgroup: Option<Cgroup>,
    /// Processes anywhere on the machine that the kernel killed for memory meanwhile.
    pub machine_oom_kills: Option<u64>,
}

/// A memory cgroup, as it was read last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Of the kernel's interface, 1 or 2.
    pub version: u8,
    /// Its path below the root of cgroups.
    pub path: String,
    /// The lowest limit of memory among its own and its ancestors', in bytes.
    pub limit: Option<u64>,
    /// The cgroup that sets it.
    pub limited_by: Option<String>,
    /// The lowest limit of swap, beside memory's.
    pub swap_limit: Option<u64>,
    /// The most that it ever charged: page cache, kernel memory and all of its processes.
    pub peak: Option<u64>,
    /// Likewise when the command entered it; less than `peak` where the peak came later.
    pub peak_before: Option<u64>,
    /// Processes in it that the kernel killed for memory since.
    pub oom_kills: Option<u64>,
    /// The cgroup, itself or an ancestor, whose limit could not be kept otherwise.
    pub exhausted: Option<String>,
}

/// Why the kernel killed a process for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The limit of a cgroup.
    Cgroup,
    /// The machine had no more.
    Machine,
}

impl Limits {
    /// Why a process of the command that SIGKILL ended was killed: nothing where the kernel killed
    /// none of its cgroup's for memory. Where no cgroup is known, one of the machine's is taken
    /// for it.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        let kills = match &self.cgroup {
            Some(cgroup) => cgroup.oom_kills.or(self.machine_oom_kills),
            None => self.machine_oom_kills,
        };
        kills.filter(|&kills| kills > 0)?;
        let exhausted = self.cgroup.as_ref().and_then(|c| c.exhausted.as_ref());
        Some(match exhausted {
            Some(_) => Shortage::Cgroup,
            None => Shortage::Machine,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortage(cgroup: Option<(Option<u64>, bool)>, machine: Option<u64>) -> Option<Shortage> {
        let cgroup = cgroup.map(|(oom_kills, exhausted)| Cgroup {
            oom_kills,
            exhausted: exhausted.then(|| "/a".to_owned()),
            ..Cgroup::default()
        });
        Limits {
            cgroup,
            machine_oom_kills: machine,
        }
        .shortage()
    }

    #[test]
    fn a_kill_is_for_memory_if_the_kernel_counted_one_where_the_process_was() {
        use Shortage::{Cgroup, Machine};
        assert_eq!(shortage(Some((Some(1), true)), Some(1)), Some(Cgroup));
        assert_eq!(shortage(Some((Some(1), false)), Some(1)), Some(Machine));
        // Killed elsewhere.
        assert_eq!(shortage(Some((Some(0), false)), Some(1)), None);
        assert_eq!(shortage(Some((None, false)), Some(2)), Some(Machine));
        assert_eq!(shortage(None, Some(1)), Some(Machine));
        assert_eq!(shortage(None, Some(0)), None);
        assert_eq!(shortage(None, None), None);
    }
}
