//! `hearthgate check` and `explain` on a folder of good and broken examples, compared with golden files.

use std::path::Path;

use tests::gateway::{GatewayPlan, run, said};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// What a command printed, with the examples' folder left out of paths, and how it ended.
async fn printed(arguments: &[&str]) -> (String, Option<i32>) {
    let output = run(arguments).await;
    (said(&output).replace(&format!("{}/", examples().display()), ""), output.status.code())
}

#[tokio::test]
async fn check_says_all_that_is_wrong_with_a_folder_of_examples() {
    let mut names: Vec<_> = std::fs::read_dir(examples())
        .expect("the examples are there")
        .map(|entry| entry.expect("the examples are there").path())
        .filter(|path| path.join("hearthgate.yml").exists())
        .collect();
    names.sort();
    assert!(names.len() >= 3);
    for example in names {
        let name = example.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let install = example.join("hearthgate.yml");
        let file = format!("--configFile={}", install.display());
        let folder = format!("--providers.file.directory={}", example.join("routes").display());
        let (text, code) = printed(&["check", &file, &folder]).await;
        let (json, _) = printed(&["check", "--format=json", &file, &folder]).await;
        insta::with_settings!({ snapshot_path => "examples/golden", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("{name}"), format!("{text}exit code {code:?}\n"));
        });
        let json: serde_json::Value =
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}: {json}"));
        assert!(json.is_array() || json.is_object(), "{name}");
    }
}

#[tokio::test]
async fn explain_names_the_winner_and_the_nearest_miss() {
    let plan = GatewayPlan::new();
    plan.write(
        "routes.yml",
        "http:
  routers:
    page: { rule: Host(`app.test`), service: s }
    api: { rule: 'Host(`app.test`) && PathPrefix(`/api`)', service: s }
  services:
    s: { loadBalancer: { servers: [ { url: 'http://127.0.0.1:1' } ] } }
",
    );
    let file = format!("--providers.file.filename={}", plan.path("routes.yml").display());
    let web = "--entryPoints.web.address=:80";
    let (text, code) = printed(&["explain", "http://app.test/about", web, &file]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("page@file") && text.contains("api@file"), "{text}");
    assert!(text.contains("PathPrefix"), "it says what did not match: {text}");
    let (text, code) = printed(&["explain", "http://other.test/", web, &file]).await;
    assert_eq!(code, Some(1), "{text}");
}
