//! A whole repository, as the daemon and the command line use it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::disallowed_methods, reason = "the cases are files; the crate itself reads none")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use trueup_schema::{
    Cache, Catalogue, ContentDigest, DigestKey, ExplainError, Limits, Opened, RepoPath, Resolved, Revision,
    Secret, Snapshot, explain, load, load_with, render, snapshot::MemoryFiles,
};

const PASSWORD: &str = "hunter2-Z9q!";

type Tree = BTreeMap<RepoPath, Vec<u8>>;

fn read_tree(root: &Path, at: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_tree(root, &path, tree);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            tree.insert(name.parse().unwrap(), fs::read(&path).unwrap());
        }
    }
}

fn base() -> Tree {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/base");
    let mut tree = Tree::new();
    read_tree(&root, &root, &mut tree);
    tree
}

fn with(changes: &[(&str, &str)]) -> Tree {
    let mut tree = base();
    for (path, text) in changes {
        tree.insert(path.parse().unwrap(), text.as_bytes().to_vec());
    }
    tree
}

fn snapshot(tree: Tree) -> Snapshot {
    let files: MemoryFiles = tree.into_iter().map(|(path, bytes)| (path, Arc::from(bytes))).collect();
    let revision = Revision {
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        reference: "main".into(),
        author: "test".into(),
        subject: "test".into(),
        time: jiff::Timestamp::UNIX_EPOCH,
    };
    Snapshot { revision, files: Arc::new(files) }
}

fn catalogue(tree: Tree) -> Catalogue {
    load(&snapshot(tree), &Limits::default()).unwrap()
}

fn resolve(tree: Tree) -> Resolved {
    catalogue(tree).resolve(&"demo".parse().unwrap()).unwrap_or_else(|report| panic!("{report}"))
}

fn key() -> DigestKey {
    DigestKey::new([7; 32])
}

fn opened() -> Opened {
    let file = |name: &str| format!("environments/demo/secrets/{name}.age").parse::<RepoPath>().unwrap();
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
    Opened::from([
        ((file("db"), Some("password".to_owned())), secret(PASSWORD)),
        ((file("web"), Some("token".to_owned())), secret("t0ken")),
    ])
}

#[test]
fn layers_and_values_come_together() {
    let resolved = resolve(base());
    assert_eq!(resolved.spec.domain.as_deref(), Some("demo.internal"));
    let web = &resolved.components["web"];
    assert_eq!(web.spec.image.as_deref(), Some("registry.example.org/base/web:1.2"));
    assert_eq!(web.spec.env["DATABASE"], "postgresql://db:5432/app");
    assert_eq!(web.spec.env["CACHE_MB"], "128");
    let zones: Vec<&str> = web.zones.iter().map(trueup_schema::ZoneName::as_str).collect();
    assert_eq!(zones, ["control", "data"]);
    assert_eq!(web.endpoints[0].url, "postgresql://db:5432");
    let db = &resolved.components["db"];
    assert_eq!(db.spec.resources.memory.unwrap().to_string(), "256Mi");
    assert_eq!(
        db.places.find("resources.memory").unwrap().to_string(),
        "environments/demo/environment.yaml:11:30"
    );
    assert_eq!(db.places.find("resources.cpu").unwrap().to_string(), "components/db.yaml:15:33");
    assert_eq!(web.places.find("ports[http].publish").unwrap().to_string(), "components/web.yaml:17:41");
    let migrate = &resolved.components["migrate"];
    assert_eq!(serde_json::to_value(migrate.spec.restart).unwrap(), "no");
    assert_eq!(migrate.zones[0].as_str(), "data");
    let inputs: Vec<&str> = resolved.inputs.keys().map(RepoPath::as_str).collect();
    assert!(inputs.contains(&"files/web/app.conf") && inputs.contains(&"environments/demo/secrets/db.age"));
    assert_eq!(inputs.len(), 8);
}

#[test]
fn named_lists_merge_by_their_key() {
    let environment = "apiVersion: trueup.dev/v1\nkind: Environment\nmetadata: {name: demo}\nspec:\n  target: {docker: local}\n  zones: {control: {}, data: {}}\n  components: [db, migrate, web]\n  variables: {registry: r}\n  patches:\n    web:\n      ports: [{name: http, publish: null}, {name: admin, port: 9000}]\n      secrets: [{name: token, $remove: true}]\n      env: {CACHE_MB: null, MORE: yes}\n";
    let resolved = resolve(with(&[("environments/demo/environment.yaml", environment)]));
    let web = &resolved.components["web"].spec;
    assert_eq!(web.ports.len(), 2);
    assert_eq!((web.ports[0].port, web.ports[0].publish), (8080, None));
    assert_eq!(web.secrets.len(), 1);
    assert_eq!(web.env.keys().collect::<Vec<_>>(), ["DATABASE", "MORE"]);
    assert_eq!(web.env["MORE"], "yes");
}

#[test]
fn a_template_that_touches_a_secret_is_a_secret() {
    let tree = base();
    let resolved = resolve(tree.clone());
    assert_eq!(resolved.secret_refs().len(), 3);
    let (deliveries, materials) = resolved.deliver(&*snapshot(tree).files, &opened(), &key()).unwrap();
    let web = &deliveries["web"];
    let conf = &web.files["/etc/web/app.conf"];
    assert!(conf.digest.is_secret());
    assert_eq!((conf.mode, conf.uid, conf.gid), (0o444, 0, 0));
    let text = String::from_utf8(materials.get(&conf.digest).unwrap().expose().to_vec()).unwrap();
    assert_eq!(text, format!("database = db:5432\npassword = {PASSWORD}\ndomain = web.demo.internal\n"));
    assert_eq!(materials.text(&conf.digest), None);
    assert_eq!(web.path_env["TOKEN_FILE"], "/run/secrets/token");
    assert_eq!(web.files["/run/secrets/token"].mode, 0o400);
    let password = &deliveries["db"].files["/run/secrets/password"];
    assert_eq!((password.uid, password.gid, password.mode), (70, 0, 0o400));
    assert!(!web.files.contains_key("password"), "a secret without file and env is for templates only");
}

#[test]
fn a_template_without_secrets_is_plain() {
    let tree = with(&[("files/web/app.conf", "a = ${environment.name}\nb = $${HOME} $HOME\n")]);
    let resolved = resolve(tree.clone());
    let (deliveries, materials) = resolved.deliver(&*snapshot(tree).files, &opened(), &key()).unwrap();
    let digest = &deliveries["web"].files["/etc/web/app.conf"].digest;
    assert_eq!(materials.text(digest), Some("a = demo\nb = ${HOME} $HOME\n"));
    assert_eq!(*digest, ContentDigest::of_plain(b"a = demo\nb = ${HOME} $HOME\n"));
}

#[test]
fn no_error_shows_a_part_of_a_secret() {
    let wrong = [
        "${secrets.password | int}",
        "${secrets.password | mb}",
        "${secrets.password | seconds}",
        "${secrets.password + 1}",
        "${secrets.password / 2}",
        "${secrets.password | round}",
        "${secrets.password.inner.field}",
        "${secrets.password | nope}",
        "${secrets.password | replace(secrets.password)}",
        "${variables[secrets.password]}",
        "${connects[secrets.password].x}",
        "${self.ports[secrets.password]}",
        "${{secrets.password: 1}}",
        "${{'a': secrets.password}}",
        "${[secrets.password]}",
        "${secrets}",
        "${secrets | json}",
        "${secrets.password()}",
        "${secrets.password | join(1, 2, 3)}",
        "${secrets[secrets.password]}",
        "${secrets.password * 100000000}",
        "${secrets.password is nope}",
        "${-secrets.password}",
    ];
    for expression in wrong {
        let tree = with(&[("files/web/app.conf", &format!("x = {expression}\n"))]);
        let resolved = resolve(tree.clone());
        let Err(report) = resolved.deliver(&*snapshot(tree).files, &opened(), &key()) else {
            panic!("{expression} is accepted")
        };
        let printed = format!("{report} {report:?} {}", serde_json::to_string(&report).unwrap());
        for start in 0..PASSWORD.len() - 4 {
            assert!(!printed.contains(&PASSWORD[start..start + 4]), "{expression}: {printed}");
        }
        assert!(printed.contains("files/web/app.conf:1:"), "{expression}: {printed}");
    }
}

#[test]
fn a_secret_that_is_not_open_or_empty_is_refused() {
    let tree = base();
    let resolved = resolve(tree.clone());
    let mut secrets = opened();
    secrets.retain(|(file, _), _| file.as_str().ends_with("db.age"));
    let report =
        resolved.deliver(&*snapshot(tree.clone()).files, &secrets, &key()).err().unwrap().to_string();
    assert!(report.contains("the secret `environments/demo/secrets/web.age#token` is not there"), "{report}");
    let file: RepoPath = "environments/demo/secrets/web.age".parse().unwrap();
    secrets.insert((file, Some("token".into())), Secret::new(Vec::new()));
    let report = resolved.deliver(&*snapshot(tree).files, &secrets, &key()).err().unwrap().to_string();
    assert!(report.contains("is empty"), "{report}");
}

#[test]
fn an_exposed_secret_is_a_variable_of_its_own() {
    let web = "apiVersion: trueup.dev/v1\nkind: Component\nmetadata: {name: web}\nspec:\n  image: a:1\n  secrets:\n    - {name: token, from: secrets/web.age#token, env: TOKEN, exposed: true}\n  pull: {secret: secrets/db.age#password}\n";
    let tree = with(&[("components/web.yaml", web)]);
    let resolved = resolve(tree.clone());
    let (deliveries, materials) = resolved.deliver(&*snapshot(tree).files, &opened(), &key()).unwrap();
    let web = &deliveries["web"];
    assert_eq!(materials.get(&web.exposed["TOKEN"]).unwrap().expose(), b"t0ken");
    assert_eq!(materials.get(web.pull.as_ref().unwrap()).unwrap().expose(), PASSWORD.as_bytes());
}

#[test]
fn one_environment_does_not_suffer_from_another() {
    let broken = "apiVersion: trueup.dev/v1\nkind: Environment\nmetadata: {name: other}\nspec: {target: {docker: local}, components: [nope]}\n";
    let component =
        "apiVersion: trueup.dev/v1\nkind: Component\nmetadata: {name: unused}\nspec: {imgae: x}\n";
    let tree =
        with(&[("environments/other/environment.yaml", broken), ("components/unused.yaml", component)]);
    let catalogue = catalogue(tree);
    let names: Vec<String> = catalogue.environments().map(ToString::to_string).collect();
    assert_eq!(names, ["demo", "other"]);
    assert!(catalogue.resolve(&"demo".parse().unwrap()).is_ok());
    assert!(catalogue.resolve(&"other".parse().unwrap()).is_err());
    let report = catalogue.validate();
    assert_eq!(report.problems.len(), 2, "{report}");
    let unknown = catalogue.resolve(&"demos".parse().unwrap()).unwrap_err().to_string();
    assert!(unknown.contains("did you mean `demo`?"), "{unknown}");
}

#[test]
fn what_did_not_change_is_not_parsed_again() {
    let mut cache = Cache::default();
    load_with(&snapshot(base()), &Limits::default(), &mut cache).unwrap();
    assert_eq!(cache.parsed(), 5);
    load_with(&snapshot(base()), &Limits::default(), &mut cache).unwrap();
    assert_eq!(cache.parsed(), 5);
    let db = String::from_utf8(base()[&"components/db.yaml".parse::<RepoPath>().unwrap()].clone()).unwrap();
    let tree = with(&[("components/db.yaml", &db.replace("1Gi", "2Gi"))]);
    load_with(&snapshot(tree), &Limits::default(), &mut cache).unwrap();
    assert_eq!(cache.parsed(), 6);
}

#[test]
fn a_commit_concerns_the_environments_whose_files_it_changes() {
    let before = catalogue(base());
    let inputs = before.resolve(&"demo".parse().unwrap()).unwrap().inputs;
    let concerned = |tree: Tree| {
        let changed = catalogue(tree).changes_since(&before);
        (!changed.is_empty(), inputs.keys().any(|path| changed.contains(path)))
    };
    assert_eq!(concerned(base()), (false, false));
    for path in base().into_keys() {
        let mut tree = base();
        tree.get_mut(&path).unwrap().push(b'\n');
        assert_eq!(concerned(tree), (true, true), "{path}");
        let mut tree = base();
        // Without it nothing can be read at all.
        if path.as_str() != "trueup.yaml" {
            tree.remove(&path);
            assert_eq!(concerned(tree), (true, true), "without {path}");
        }
    }
    let other = "apiVersion: trueup.dev/v1\nkind: Component\nmetadata: {name: other}\nspec: {workload: external, address: a.b}\n";
    assert_eq!(concerned(with(&[("components/other.yaml", other)])), (true, false));
    assert_eq!(concerned(with(&[("environments/prod/environment.yaml", "")])), (true, false));
    // Of two components of one name the first file has the word.
    let db = String::from_utf8(base()[&"components/db.yaml".parse::<RepoPath>().unwrap()].clone()).unwrap();
    assert_eq!(concerned(with(&[("components/aa.yaml", &db)])), (true, true));
    assert_eq!(concerned(with(&[("components/zz.yaml", &db)])), (true, true));
}

#[test]
fn a_value_is_explained_through_its_layers() {
    let catalogue = catalogue(base());
    let demo = "demo".parse().unwrap();
    let show = |path: &str| explain(&catalogue, &demo, path).map(|found| found.to_string());
    assert_eq!(
        show("db.resources.memory").unwrap(),
        "db.resources.memory = 256Mi\n  \
           component    1Gi    components/db.yaml:15:23\n  \
           patch        256Mi  environments/demo/environment.yaml:11:30\n  \
           Memory; swap is limited to the same.\n"
    );
    assert_eq!(
        show("web.env.CACHE_MB").unwrap(),
        "web.env.CACHE_MB = 128\n  \
           component    ${(self.resources.memory / 4) | mb}  components/web.yaml:10:15\n  \
           computed     128\n  \
           Environment variables. A value must not come from a secret.\n"
    );
    let explained = show("web.replicas").unwrap();
    assert!(explained.starts_with("web.replicas = 1\n  default      1\n"), "{explained}");
    let explained = show("environment.sync.interval").unwrap();
    assert!(explained.starts_with("environment.sync.interval = 1m\n  default"), "{explained}");
    assert!(
        show("web.ports[http].publish").unwrap().starts_with("web.ports[http].publish = 8080\n  component")
    );
    assert!(show("web.connects[db:sql].port").is_ok());
    match explain(&catalogue, &demo, "db.resources.memroy") {
        Err(ExplainError::UnknownPath { help, .. }) => {
            assert_eq!(help, "did you mean `memory`? values of `db.resources`: `cpu`, `memory`, `pids`");
        }
        _ => panic!("it does not exist"),
    }
    match explain(&catalogue, &demo, "bd.image") {
        Err(ExplainError::UnknownPath { help, .. }) => {
            assert!(help.starts_with("did you mean `db`?"), "{help}");
        }
        _ => panic!("it does not exist"),
    }
}

#[test]
fn what_is_rendered_is_complete_and_always_the_same() {
    let rendered = render(&resolve(base()));
    assert_eq!(rendered, render(&resolve(base())));
    let web = &rendered["components"]["web"];
    assert_eq!(web["spec"]["replicas"], 1);
    assert_eq!(web["spec"]["restart"], "unless-stopped");
    assert_eq!(web["spec"]["secrets"][0]["from"], "secrets/web.age#token");
    assert_eq!(web["zones"][1], "data");
    assert_eq!(rendered["spec"]["domain"], "demo.internal");
    assert_eq!(rendered["spec"].get("patches"), None);
}
