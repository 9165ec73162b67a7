//! Started as root with `user` set, the gateway becomes that user before it starts a thread or serves anything. It
//! takes the group of the Docker socket with it, owns its state files, and keeps no capability but
//! `CAP_NET_BIND_SERVICE`; `CAP_DAC_OVERRIDE` stays only if a configured file is closed to the user, and a problem
//! names that file.

mod files;

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use config::install::{DockerEndpoint, Install, User};
use config::{Origin, Problem};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

/// How deep the state directory is taken over. What lies deeper is not ours.
const STATE_DEPTH: usize = 3;

/// Why privileges could not be dropped. Serving with all of them instead is no choice.
#[derive(Debug, thiserror::Error)]
pub enum DropPrivilegesError {
    /// `user` is a name that the system does not know.
    #[error("`user`: there is no user named `{0}`; write its number")]
    UnknownUser(String),
    /// The list of users could not be read.
    #[error("`user`: look up `{name}`")]
    LookUp {
        /// As written.
        name: String,
        /// Why.
        source: nix::Error,
    },
    /// The change itself.
    #[error("become user {uid}, group {gid}")]
    Become {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Why.
        source: nix::Error,
    },
    /// Capabilities.
    #[error("give up capabilities")]
    Capabilities(#[from] caps::errors::CapsError),
}

/// Who the process shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    /// Who it is.
    Stay,
    /// Root without the right to become somebody else: stays, and says so.
    Stuck,
    /// Somebody else.
    Become(Identity),
}

/// A user, and the groups it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// Owner, group and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Becomes the configured user, if started as root. To be called once, before any thread starts. What it returns
/// belongs to the problems of the start.
pub fn drop_privileges(install: &Install) -> Result<Vec<Problem>, DropPrivilegesError> {
    let user = install.user.as_ref().map(look_up).transpose()?;
    let permitted = caps::read(None, CapSet::Permitted)?;
    let socket = docker_socket(install).and_then(|path| access(path).ok());
    match plan(geteuid().as_raw(), user, &permitted, socket) {
        Plan::Stay => Ok(Vec::new()),
        Plan::Stuck => Ok(vec![
            Problem::warning(
                Origin::Gateway,
                "`user`",
                "stays root: started without the capabilities SETUID and SETGID",
            )
            .with_hint("start it as that user in the first place (`user:` in a Compose file)"),
        ]),
        Plan::Become(identity) => {
            let mut problems = Vec::new();
            // Routing files are read for the files that they name, while nothing is closed.
            let configured = files::configured(install);
            own_state(install, &identity, &permitted, &mut problems);
            become_user(&identity, &permitted)?;
            let closed: Vec<_> = configured.into_iter().filter(|path| is_closed(path)).collect();
            keep_only(&kept(&permitted, &closed))?;
            problems.extend(closed.iter().map(|path| closed_problem(path, &identity, &permitted)));
            Ok(problems)
        }
    }
}

fn plan(euid: u32, user: Option<(u32, u32)>, permitted: &CapsHashSet, socket: Option<Access>) -> Plan {
    match user {
        Some((uid, gid)) if euid == 0 && uid != 0 => {
            if !(permitted.contains(&Capability::CAP_SETUID) && permitted.contains(&Capability::CAP_SETGID)) {
                return Plan::Stuck;
            }
            // A group that the socket does not let in is of no use.
            let group_may = |access: &Access| access.mode & 0o060 == 0o060 && access.gid != gid;
            Plan::Become(Identity {
                uid,
                gid,
                groups: socket.filter(group_may).map(|access| access.gid).into_iter().collect(),
            })
        }
        Some(_) | None => Plan::Stay,
    }
}

/// What is left of the capabilities.
fn kept(permitted: &CapsHashSet, closed: &[PathBuf]) -> CapsHashSet {
    let mut kept = CapsHashSet::from([Capability::CAP_NET_BIND_SERVICE]);
    if !closed.is_empty() {
        kept.insert(Capability::CAP_DAC_OVERRIDE);
    }
    kept.intersection(permitted).copied().collect()
}

fn closed_problem(path: &Path, identity: &Identity, permitted: &CapsHashSet) -> Problem {
    let Identity { uid, gid, .. } = identity;
    let consequence = if permitted.contains(&Capability::CAP_DAC_OVERRIDE) {
        "the capability DAC_OVERRIDE is kept for it"
    } else {
        "it cannot be used"
    };
    Problem::warning(
        Origin::Gateway,
        format!("file `{}`", path.display()),
        format!("is closed to user {uid}, group {gid}: {consequence}"),
    )
    .with_hint(format!("run `chown {uid}:{gid} {}` or open it to that group", path.display()))
}

fn look_up(user: &User) -> Result<(u32, u32), DropPrivilegesError> {
    match user {
        User::Ids(uid, gid) => Ok((*uid, gid.unwrap_or(*uid))),
        User::Name(name) => match nix::unistd::User::from_name(name) {
            Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
            Ok(None) => Err(DropPrivilegesError::UnknownUser(name.clone())),
            Err(source) => Err(DropPrivilegesError::LookUp { name: name.clone(), source }),
        },
    }
}

fn access(path: &Path) -> io::Result<Access> {
    let metadata = std::fs::metadata(path)?;
    Ok(Access { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() })
}

fn docker_socket(install: &Install) -> Option<&Path> {
    match &install.providers.docker.as_ref()?.endpoint {
        DockerEndpoint::Unix(path) => Some(path),
        DockerEndpoint::Http(_) | DockerEndpoint::Https { .. } => None,
    }
}

/// Makes the user the owner of the state directory, the log files and the storage of certificates: what the gateway
/// itself writes.
fn own_state(install: &Install, identity: &Identity, permitted: &CapsHashSet, problems: &mut Vec<Problem>) {
    if !permitted.contains(&Capability::CAP_CHOWN) {
        return;
    }
    let logs = [
        install.log.file_path.as_deref(),
        install.access_log.as_ref().and_then(|settings| settings.file_path.as_deref()),
    ];
    // A state directory that cannot be made is a problem of its own, found when it is used.
    let _ = std::fs::create_dir_all(&install.state_dir);
    let owned = own(&install.state_dir, STATE_DEPTH, identity)
        .and_then(|()| logs.into_iter().flatten().try_for_each(|path| own(path, 0, identity)));
    if let Err(error) = owned {
        problems.push(Problem::warning(
            Origin::Gateway,
            format!("state directory `{}`", install.state_dir.display()),
            format!("cannot be given to user {}: {error}", identity.uid),
        ));
    }
    for (path, error) in files::own_storage(install, identity) {
        problems.push(Problem::warning(
            Origin::Gateway,
            format!("file `{}`", path.display()),
            format!("cannot be given to user {}: {error}", identity.uid),
        ));
    }
}

/// Gives a file, or a folder and what lies in it, to the user. Links are not followed, and devices stay whose they are.
fn own(path: &Path, depth: usize, identity: &Identity) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    if !(kind.is_file() || kind.is_dir() || kind.is_socket()) {
        return Ok(());
    }
    if metadata.uid() != identity.uid {
        lchown(path, Some(identity.uid), Some(identity.gid))?;
    }
    if kind.is_dir() && depth > 0 {
        for entry in std::fs::read_dir(path)? {
            own(&entry?.path(), depth - 1, identity)?;
        }
    }
    Ok(())
}

/// Changes user and groups. All capabilities are still permitted afterwards, and the ones that the next steps may
/// need are in effect: none but the one to bind low ports.
fn become_user(identity: &Identity, permitted: &CapsHashSet) -> Result<(), DropPrivilegesError> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups: Vec<_> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    caps::securebits::set_keepcaps(true)?;
    setgroups(&groups)
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|source| DropPrivilegesError::Become { uid: identity.uid, gid: identity.gid, source })?;
    caps::securebits::set_keepcaps(false)?;
    caps::set(None, CapSet::Effective, &kept(permitted, &[]))?;
    Ok(())
}

/// Gives up everything else for good.
fn keep_only(kept: &CapsHashSet) -> Result<(), DropPrivilegesError> {
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, kept)?;
    caps::set(None, CapSet::Permitted, kept)?;
    // What is started (the command of a DNS challenge, or anything by mistake) shall not gain anything.
    let _ = set_no_new_privs();
    Ok(())
}

/// Tries it as the user that the process now is: modes, groups and access lists all count.
fn is_closed(path: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
        }
        Ok(metadata) if metadata.is_dir() => std::fs::read_dir(path).is_err_and(refused),
        Ok(_) => std::fs::File::open(path).is_err_and(refused),
        Err(error) => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT_SOCKET: Access = Access { uid: 0, gid: 0, mode: 0o140_660 };
    const DOCKER_SOCKET: Access = Access { uid: 0, gid: 998, mode: 0o140_660 };
    const CLOSED_SOCKET: Access = Access { uid: 0, gid: 998, mode: 0o140_600 };

    fn all() -> CapsHashSet {
        caps::all()
    }

    fn becomes(groups: &[u32]) -> Plan {
        Plan::Become(Identity { uid: 65532, gid: 65532, groups: groups.to_vec() })
    }

    #[test]
    fn root_becomes_the_user_and_takes_the_group_of_the_socket_along() {
        let user = Some((65532, 65532));
        assert_eq!(plan(0, user, &all(), Some(DOCKER_SOCKET)), becomes(&[998]));
        assert_eq!(plan(0, user, &all(), Some(ROOT_SOCKET)), becomes(&[0]));
        assert_eq!(plan(0, user, &all(), Some(CLOSED_SOCKET)), becomes(&[]));
        assert_eq!(plan(0, user, &all(), None), becomes(&[]));
    }

    #[test]
    fn who_was_not_asked_to_change_stays() {
        assert_eq!(plan(0, None, &all(), None), Plan::Stay);
        assert_eq!(plan(1000, Some((65532, 65532)), &all(), None), Plan::Stay);
        assert_eq!(plan(0, Some((0, 0)), &all(), None), Plan::Stay);
    }

    #[test]
    fn root_without_the_right_to_change_stays_and_says_so() {
        assert_eq!(plan(0, Some((65532, 65532)), &CapsHashSet::new(), None), Plan::Stuck);
    }

    #[test]
    fn a_closed_file_costs_one_more_capability_and_no_other_is_kept() {
        let bind = Capability::CAP_NET_BIND_SERVICE;
        let read = Capability::CAP_DAC_OVERRIDE;
        let closed = [PathBuf::from("routes.yml")];
        assert_eq!(kept(&all(), &[]), CapsHashSet::from([bind]));
        assert_eq!(kept(&all(), &closed), CapsHashSet::from([bind, read]));
        assert_eq!(kept(&CapsHashSet::new(), &closed), CapsHashSet::new());
    }

    #[test]
    fn the_problem_names_the_file_and_the_cure() {
        let identity = Identity { uid: 65532, gid: 65532, groups: Vec::new() };
        let problem = closed_problem(Path::new("/etc/hearthgate/routes.yml"), &identity, &all());
        assert_eq!(
            problem.to_string(),
            "gateway: warning: file `/etc/hearthgate/routes.yml`: is closed to user 65532, group 65532: the \
             capability DAC_OVERRIDE is kept for it; run `chown 65532:65532 /etc/hearthgate/routes.yml` or open it \
             to that group"
        );
    }

    #[test]
    fn a_number_without_a_group_is_its_own_group() {
        assert_eq!(look_up(&User::Ids(1000, None)).unwrap(), (1000, 1000));
        assert_eq!(look_up(&User::Ids(1000, Some(5))).unwrap(), (1000, 5));
        assert_eq!(look_up(&User::Name("root".to_owned())).unwrap(), (0, 0));
        assert!(look_up(&User::Name("nobody of this name".to_owned())).is_err());
    }
}
