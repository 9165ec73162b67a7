//! The image as it is shipped: asked for one page, and found to have given up root.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tests::client::ask_for;
use tests::docker::Docker;
use tests::eventually;
use tests::wait::holds;

/// Built by `make test` (and by `docker/build.sh`) from the program under test.
const IMAGE: &str = "hearthgate:test";

const SOON: Duration = Duration::from_secs(30);

/// The address of a running container on the engine's own bridge.
async fn address(docker: &Docker, name: &str) -> SocketAddr {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker.run(&["inspect", "-f", format, name]).await;
    let address: IpAddr = address.trim().parse().unwrap_or_else(|error| panic!("{address}: {error}"));
    SocketAddr::new(address, 80)
}

/// User, and effective capabilities, of a container's first process as the machine sees it.
async fn privileges(docker: &Docker, name: &str) -> (String, String) {
    let pid = docker.run(&["inspect", "-f", "{{.State.Pid}}", name]).await;
    let status =
        std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("status")).unwrap_or_default();
    let field = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    (field("Uid:"), field("CapEff:"))
}

async fn page(docker: &Docker, name: &str, host: &str) -> String {
    let answer = eventually(&format!("{name} serves {host}"), SOON, || async {
        let running =
            docker.run(&["inspect", "-f", "{{.State.Running}} {{.NetworkSettings.IPAddress}}", name]).await;
        if !running.starts_with("true") {
            return Err(docker.attempt(&["logs", name]).await.unwrap_or_default());
        }
        let answer = ask_for(address(docker, name).await, host, "/").await?;
        holds(answer.status == 200, (answer.status, answer.text()))?;
        Ok(answer)
    })
    .await;
    answer.text()
}

async fn healthy(docker: &Docker, name: &str) {
    eventually(&format!("{name} is healthy"), Duration::from_secs(60), || async {
        let state = docker.run(&["inspect", "-f", "{{json .State.Health}}", name]).await;
        holds(state.contains("\"Status\":\"healthy\""), state)
    })
    .await;
}

#[tokio::test]
async fn the_image_line_is_enough_and_root_is_given_up() {
    let docker = Docker::machine().await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    // As existing stacks have it: files of root's that nobody else may read.
    let routes = folder.path().join("routes.yml");
    std::fs::write(&routes, "http: { routers: { me: { rule: Host(`me.test`), service: whoami@internal } } }")
        .expect("the temporary folder can be written to");
    std::fs::set_permissions(&routes, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("it is ours");
    let mount = format!("{}:/routes.yml:ro", routes.display());
    let app_rule = ("traefik.http.routers.app.rule", "Host(`app.test`)");
    let _app = docker.start("app", &[("traefik.enable", "true"), app_rule], &[]).await;

    let name = docker
        .create_with(
            "gateway",
            &[],
            &["-v", "/var/run/docker.sock:/var/run/docker.sock:ro", "-v", &mount],
            IMAGE,
            &[
                "--entryPoints.web.address=:80",
                "--log.level=WARN",
                "--providers.docker=true",
                "--providers.docker.exposedByDefault=false",
                &format!("--providers.docker.constraints={}", docker.constraint()),
                "--providers.file.filename=/routes.yml",
            ],
        )
        .await;
    docker.run(&["start", &name]).await;

    assert_eq!(page(&docker, &name, "app.test").await, "app\n");
    assert!(!page(&docker, &name, "me.test").await.is_empty());
    let (user, capabilities) = privileges(&docker, &name).await;
    assert_eq!(user, "65532");
    // Low ports, and, for the file of root's, reading what is closed to it; nothing else.
    let capabilities = u64::from_str_radix(&capabilities, 16).expect("a mask");
    assert_eq!(capabilities & !(1 << 10 | 1 << 1), 0, "{capabilities:x}");
    let log = docker.run(&["logs", &name]).await;
    assert!(log.contains("/routes.yml"), "the file that it may not read as this user is named: {log}");
    let status = docker.run(&["exec", &name, "hearthgate", "status"]).await;
    assert!(status.contains("ready"), "{status}");

    // Both names of the program answer, in the list form of a health check.
    docker.run(&["exec", &name, "hearthgate", "healthcheck"]).await;
    docker.run(&["exec", &name, "traefik", "healthcheck", "--ping"]).await;
    let version = docker.run(&["exec", &name, "traefik", "version"]).await;
    assert!(version.to_lowercase().contains("hearthgate"), "{version}");
    healthy(&docker, &name).await;

    docker.run(&["stop", "--time", "10", &name]).await;
    assert_eq!(docker.run(&["inspect", "-f", "{{.State.ExitCode}}", &name]).await.trim(), "0");
}

#[tokio::test]
async fn it_runs_without_any_privilege_and_with_a_root_that_cannot_be_written() {
    let docker = Docker::machine().await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let routes = folder.path().join("routes.yml");
    std::fs::write(&routes, "http: { routers: { me: { rule: Host(`me.test`), service: whoami@internal } } }")
        .expect("the temporary folder can be written to");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it is ours");
    let mount = format!("{}:/routes:ro", folder.path().display());
    let name = docker
        .create_with(
            "gateway",
            &[],
            &[
                "--read-only",
                "--cap-drop",
                "ALL",
                "--user",
                "65532:65532",
                "--security-opt",
                "no-new-privileges",
                "--tmpfs",
                "/var/lib/hearthgate:uid=65532,gid=65532",
                "-v",
                &mount,
            ],
            IMAGE,
            &["--entryPoints.web.address=:80", "--providers.file.directory=/routes"],
        )
        .await;
    docker.run(&["start", &name]).await;
    assert!(!page(&docker, &name, "me.test").await.is_empty());
    assert_eq!(privileges(&docker, &name).await, ("65532".to_owned(), "0000000000000000".to_owned()));
    healthy(&docker, &name).await;
}

#[tokio::test]
async fn the_compose_stack_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let output = tokio::process::Command::new("docker-compose")
        .arg("-f")
        .arg(root.join("docker/compose.yaml"))
        .arg("config")
        .env("TUNNEL_TOKEN", "token")
        .output()
        .await
        .expect("docker-compose is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = root.join("docker/hearthgate.yml");
    let output = tests::gateway::run(&["check", &format!("--configFile={}", config.display())]).await;
    let text = tests::gateway::said(&output);
    assert!(!text.contains("hearthgate.yml:"), "the stack's own configuration has a problem: {text}");
}
