//! What is around the gateway: its own container and the host. The edge of this provider: reads `/proc`, asks the
//! resolver.

use std::time::Duration;

use super::container::{Container, NetworkMode};

/// Names that container engines give to the host.
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// Identifier of the container that this process runs in, if it does.
pub(super) async fn own_id() -> Option<String> {
    let mounts = tokio::fs::read_to_string("/proc/self/mountinfo").await.ok()?;
    own_id_from(&mounts).map(str::to_owned)
}

/// Engines mount `/etc/hostname` and its neighbours from a folder that carries the identifier, whatever the host
/// name was set to.
fn own_id_from(mounts: &str) -> Option<&str> {
    mounts
        .lines()
        .filter(|line| line.contains(" /etc/hostname ") || line.contains(" /etc/resolv.conf "))
        .find_map(|line| {
            line.split("containers/").skip(1).find_map(|rest| {
                let id = rest.split('/').next()?;
                (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
            })
        })
}

/// Whether the host's address is needed and not simply ours.
pub(super) fn host_matters(containers: &[Container], own_id: Option<&str>) -> bool {
    own_id.is_some_and(|own| {
        containers.iter().any(|container| container.mode == NetworkMode::Host && container.id != own)
    })
}

/// The name that the engine gave to the host, if it gave one.
pub(super) async fn host_name() -> Option<String> {
    for name in HOST_NAMES {
        let lookup = tokio::time::timeout(Duration::from_secs(1), tokio::net::lookup_host((name, 0)));
        if let Ok(Ok(mut found)) = lookup.await
            && found.next().is_some()
        {
            return Some(name.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_container_is_found_by_its_mounts() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let docker =
            format!("1 2 254:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda rw");
        let podman = format!(
            "1 2 0:25 /containers/overlay-containers/{id}/userdata/resolv.conf /etc/resolv.conf rw - tmpfs tmpfs rw"
        );
        let host = "1 2 254:1 / / rw - ext4 /dev/vda rw";
        let neighbour =
            format!("1 2 254:1 /var/lib/docker/containers/{id}/mounts/shm /run/x rw - ext4 /dev/vda rw");
        assert_eq!(own_id_from(&docker), Some(id));
        assert_eq!(own_id_from(&podman), Some(id));
        assert_eq!(own_id_from(host), None);
        assert_eq!(own_id_from(&neighbour), None);
    }
}
