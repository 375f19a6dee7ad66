//! Files that root writes for the user who called `sudo`.

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

/// The user on whose behalf root works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// The user who called `sudo`; nobody where this is not root, or root's own
    /// doing.
    #[must_use]
    pub fn from_sudo() -> Option<Self> {
        if !Uid::effective().is_root() {
            return None;
        }
        let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
        Self::new(number("SUDO_UID")?, number("SUDO_GID")?)
    }

    /// A user other than root.
    #[must_use]
    pub fn new(uid: u32, gid: u32) -> Option<Self> {
        // The highest number means "leave as it is" to system calls.
        (uid != 0 && uid != u32::MAX && gid != u32::MAX).then(|| Self {
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
        })
    }

    /// Does something to files as this user: what it makes belongs to the user,
    /// and the kernel refuses whatever it would refuse him (links planted in a
    /// directory lead nowhere that he could not go himself). Only this thread's
    /// access to files is changed, and only meanwhile; see `setfsuid(2)`.
    pub fn act<T>(self, act: impl FnOnce() -> T) -> T {
        struct Restore(Uid, Gid);
        impl Drop for Restore {
            fn drop(&mut self) {
                setfsuid(self.0);
                setfsgid(self.1);
            }
        }
        let gid = setfsgid(self.gid);
        let uid = setfsuid(self.uid);
        let _restore = Restore(uid, gid);
        act()
    }
}

/// Acts as the user if there is one, as ourselves otherwise.
pub(super) fn act_for<T>(owner: Option<Owner>, act: impl FnOnce() -> T) -> T {
    match owner {
        Some(owner) => owner.act(act),
        None => act(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn root_is_no_owner() {
        assert_eq!(Owner::new(0, 0), None);
        assert_eq!(Owner::new(u32::MAX, 5), None);
        assert!(Owner::new(1000, 0).is_some());
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn what_is_made_belongs_to_the_owner_and_is_refused_like_him() {
        let dir = tempfile::tempdir().expect("a directory");
        let world = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), world).expect("open to all");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "").expect("written");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("closed");
        let owner = Owner::new(12345, 54321).expect("an owner");
        let made = dir.path().join("made");
        owner.act(|| {
            std::fs::write(&made, "").expect("written");
            let error = std::fs::read(&secret).expect_err("refused");
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        });
        let metadata = std::fs::metadata(&made).expect("made");
        assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
        assert!(std::fs::read(&secret).is_ok(), "ourselves again");
    }
}
