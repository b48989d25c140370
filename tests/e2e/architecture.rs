//! Who may import whom: held against what Cargo knows of the workspace.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

/// For each crate, the crates of ours that it may depend on.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("trueup-schema", &[]),
    ("trueup-plan", &["trueup-schema"]),
    ("trueup-engine", &["trueup-plan", "trueup-schema"]),
    ("trueup-git", &["trueup-engine", "trueup-schema"]),
    ("trueup-secrets", &["trueup-engine", "trueup-schema"]),
    ("trueup-docker", &["trueup-engine", "trueup-plan", "trueup-schema"]),
    ("trueup-kubernetes", &["trueup-engine", "trueup-plan", "trueup-schema"]),
    ("trueup-store", &["trueup-engine", "trueup-plan", "trueup-schema"]),
    (
        "trueup",
        &[
            "trueup-docker",
            "trueup-engine",
            "trueup-git",
            "trueup-kubernetes",
            "trueup-plan",
            "trueup-schema",
            "trueup-secrets",
            "trueup-store",
        ],
    ),
    ("trueup-tests", &[]),
];

/// What a pure crate must not depend on.
const PURE: [&str; 2] = ["trueup-schema", "trueup-plan"];
const IMPURE: [&str; 7] = ["tokio", "tracing", "reqwest", "bollard", "kube", "gix", "rusqlite"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("architecture::imports_point_inwards", imports_point_inwards),
        Trial::test("architecture::pure_crates_do_no_io", pure_crates_do_no_io),
        Trial::test("architecture::every_security_claim_names_a_test", every_security_claim_names_a_test),
    ]
}

/// The dependencies of each crate of the workspace, those for tests left out.
fn dependencies() -> Result<BTreeMap<String, Vec<String>>, Failed> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline", "--manifest-path", manifest])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists packages")?;
    Ok(packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"].as_array().into_iter().flatten();
            let normal = normal.filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect())
}

fn imports_point_inwards() -> Result<(), Failed> {
    let may: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    for (name, dependencies) in dependencies()? {
        let allowed =
            may.get(name.as_str()).ok_or_else(|| format!("say whom `{name}` may import, in this file"))?;
        for dependency in dependencies.iter().filter(|d| d.starts_with("trueup")) {
            if !allowed.contains(&dependency.as_str()) {
                return Err(format!("`{name}` must not import `{dependency}`").into());
            }
        }
    }
    Ok(())
}

fn pure_crates_do_no_io() -> Result<(), Failed> {
    let dependencies = dependencies()?;
    for name in PURE {
        for dependency in &dependencies[name] {
            if IMPURE.contains(&dependency.as_str()) {
                return Err(format!("`{name}` is pure and must not depend on `{dependency}`").into());
            }
        }
    }
    Ok(())
}

/// Every test that `SECURITY.md` names exists.
fn every_security_claim_names_a_test() -> Result<(), Failed> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let claims = fs::read_to_string(root.join("SECURITY.md"))?;
    let mut code = String::new();
    for folder in ["schema", "daemon", "tests"] {
        collect(&root.join(folder), &mut code)?;
    }
    let names = claims.split('`').filter(|name| name.contains('_') && !name.contains([' ', '\n', '/', '$']));
    // A test is a function, or has its name in a list.
    let is_test = |name: &&str| {
        [format!("fn {name}("), format!("::{name}\""), format!("(\"{name}\",")]
            .iter()
            .any(|way| code.contains(way))
    };
    let unknown: Vec<_> = names.filter(|name| !is_test(name)).collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(format!("SECURITY.md names tests that do not exist: {unknown:?}").into())
    }
}

/// Adds every Rust file below a folder to `code`.
fn collect(folder: &Path, code: &mut String) -> Result<(), Failed> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, code)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            code.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
