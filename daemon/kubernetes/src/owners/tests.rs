use serde_json::json;

use super::*;

fn declared() -> Object {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1", "b": "2"}})
        .into()
}

fn object(managed_fields: &Value) -> Object {
    json!({"metadata": {"name": "a", "managedFields": managed_fields}, "data": {"a": "1", "b": "2"}}).into()
}

fn entry(manager: &str, operation: &str, time: &str, data: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": data}})
}

const EARLY: &str = "2026-12-01T10:00:00Z";
const LATE: &str = "2026-12-01T11:00:00Z";

#[test]
fn what_was_applied_is_ours() {
    let owners =
        Owners::of(&object(&json!([entry("trueup", "Apply", EARLY, &json!({"f:a": {}, "f:b": {}}))])));
    assert!(owners.covers(&declared()));
    assert_eq!(owners.hand(&["data", "a"]), None);
}

#[test]
fn what_somebody_changed_is_theirs_and_has_their_name() {
    let owners = Owners::of(&object(&json!([
        entry("trueup", "Apply", EARLY, &json!({"f:a": {}})),
        entry("kubectl-create", "Update", EARLY, &json!({".": {}, "f:b": {}})),
        entry("kubectl-edit", "Update", LATE, &json!({"f:b": {}})),
    ])));
    assert!(!owners.covers(&declared()));
    let hand = owners.hand(&["data", "b"]).unwrap();
    assert_eq!((hand.who.as_str(), hand.at.unwrap().to_string().as_str()), ("kubectl-edit", LATE));
    assert_eq!(owners.hand(&["data"]).unwrap().who, "kubectl-edit");
    assert_eq!(owners.hand(&["metadata"]), None);
}

#[test]
fn only_what_was_applied_under_our_name_is_ours() {
    let both = json!({"f:a": {}, "f:b": {}});
    assert!(!Owners::of(&object(&json!([entry("trueup", "Update", EARLY, &both)]))).covers(&declared()));
    assert!(!Owners::of(&object(&json!([entry("kubectl", "Apply", EARLY, &both)]))).covers(&declared()));
    let mut scaled = entry("trueup", "Apply", EARLY, &both);
    scaled["subresource"] = json!("scale");
    assert!(!Owners::of(&object(&json!([scaled]))).covers(&declared()));
}

#[test]
fn the_status_is_nobodys() {
    let mut status = entry("controller", "Update", LATE, &json!({"f:a": {}}));
    status["subresource"] = json!("status");
    assert_eq!(Owners::of(&object(&json!([status]))), Owners::default());
}

#[test]
fn cleared_or_unknown_entries_leave_nothing_that_is_ours() {
    for entries in [json!([]), json!([{}]), json!([entry("trueup", "Apply", EARLY, &json!({"x:a": {}}))])] {
        assert!(!Owners::of(&object(&entries)).covers(&declared()), "{entries}");
    }
}
