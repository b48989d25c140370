use serde_json::json;

use super::*;

/// What `kube-apiserver` 1.37 notes of `pod()`.
fn set() -> FieldSet {
    let fields = json!({
        "f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}},
        "f:spec": {
            "f:containers": {"k:{\"name\":\"web\"}": {
                ".": {}, "f:args": {}, "f:image": {}, "f:name": {},
                "f:ports": {
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
                    "k:{\"containerPort\":80,\"protocol\":\"UDP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}
                }
            }},
            "f:nodeSelector": {}
        }
    });
    FieldSet::parse(&fields).unwrap()
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "data", "labels": {"app.kubernetes.io/name": "web"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "a:1", "args": ["x"],
                "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]
            }],
            "nodeSelector": {"disk": "ssd"}
        }
    })
}

fn covers(set: &FieldSet, declared: &Value) -> bool {
    set.covers(declared, &FieldSet::default())
}

#[test]
fn what_was_applied_is_covered() {
    assert!(covers(&set(), &pod()));
    let fewer =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"nodeSelector": {}}});
    assert!(covers(&set(), &fewer));
}

#[test]
fn one_leaf_more_is_not_covered() {
    for (place, value) in [
        ("/metadata/labels", json!({"app.kubernetes.io/name": "web", "b": "c"})),
        ("/metadata", json!({"name": "web", "annotations": {"a": "b"}})),
        ("/spec/containers/0/ports", json!([{"containerPort": 81}])),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "SCTP"}]),
        ),
        ("/spec/containers", json!([{"name": "web"}, {"name": "side"}])),
        ("/spec", json!({"hostNetwork": false})),
    ] {
        let mut declared = pod();
        *declared.pointer_mut(place).unwrap() = value;
        assert!(!covers(&set(), &declared), "{place}");
    }
}

#[test]
fn an_item_without_its_default_is_not_mistaken_for_another() {
    let fields = json!({"f:ports": {"k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}});
    let set = FieldSet::parse(&fields).unwrap();
    let both = json!({"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]});
    assert!(!covers(&set, &both));
}

#[test]
fn the_items_of_a_set_are_covered_one_by_one() {
    let set = FieldSet::parse(&json!({"f:finalizers": {"v:\"a\"": {}, "v:\"b\"": {}}})).unwrap();
    assert!(covers(&set, &json!({"finalizers": ["b", "a"]})));
    assert!(!covers(&set, &json!({"finalizers": ["a", "c"]})));
    assert!(!covers(&set, &json!({"finalizers": [{"name": "a"}]})));
}

#[test]
fn an_empty_list_is_covered_unless_somebody_else_has_it() {
    let declared = json!({"tolerations": [], "gone": null});
    let nobody = FieldSet::default();
    assert!(nobody.covers(&declared, &nobody));
    let other = FieldSet::parse(&json!({"f:tolerations": {}})).unwrap();
    assert!(!nobody.covers(&declared, &other));
}

#[test]
fn what_remains_of_a_map_does_not_cover_its_keys() {
    let declared = json!({"config": {"x": "1"}});
    let before = FieldSet::parse(&json!({"f:config": {".": {}, "f:x": {}}})).unwrap();
    assert!(covers(&before, &declared));
    let mut emptied = FieldSet::parse(&json!({"f:config": {}})).unwrap();
    emptied.hollow_out(&json!({"config": {}}).into(), &FieldSet::default());
    assert!(!covers(&emptied, &declared));
    assert!(covers(&emptied, &json!({"config": {}})));

    let mut taken = FieldSet::parse(&json!({"f:config": {}})).unwrap();
    let other = FieldSet::parse(&json!({"f:config": {"f:x": {}}})).unwrap();
    let object = json!({"config": {"x": "2"}}).into();
    taken.hollow_out(&object, &other);
    assert!(!covers(&taken, &declared));
    assert_eq!(taken.take(&object), json!({"config": {}}));
}

#[test]
fn an_atomic_map_stays_whole() {
    let mut set = set();
    set.hollow_out(&pod().into(), &FieldSet::default());
    assert!(covers(&set, &pod()));
}

#[test]
fn values_are_taken_as_they_are_sent() {
    let mut live = pod();
    live["status"] = json!({"phase": "Running"});
    live["spec"]["restartPolicy"] = json!("Always");
    live["spec"]["containers"] = json!([
        {"name": "injected", "image": "i"},
        {"name": "web", "image": "a:2", "args": ["x", "y"], "imagePullPolicy": "Always", "ports": [
            {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 9}]}
    ]);
    let expected = json!({
        "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
        "spec": {
            "containers": [{"name": "web", "image": "a:2", "args": ["x", "y"], "ports": [
                {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80}]}],
            "nodeSelector": {"disk": "ssd"}
        }
    });
    assert_eq!(set().take(&live.into()), expected);
}

#[test]
fn lists_with_keys_become_maps() {
    let expected = json!({
        "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
        "spec": {
            "containers": {"web": {"name": "web", "image": "a:1", "args": ["x"], "ports": {
                "80/TCP": {"containerPort": 80}, "80/UDP": {"containerPort": 80, "protocol": "UDP"}}}},
            "nodeSelector": {"disk": "ssd"}
        }
    });
    assert_eq!(set().keyed(&pod().into()), expected);
}

#[test]
fn what_the_object_does_not_have_is_left_out() {
    let live = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "other"}]}});
    assert_eq!(set().take(&live.into()), json!({"metadata": {}, "spec": {"containers": []}}));
}

#[test]
fn paths_are_those_of_the_leaves() {
    let paths: Vec<_> = set().paths().iter().map(|path| path.join(" ")).collect();
    assert_eq!(
        paths,
        [
            "metadata labels app.kubernetes.io/name",
            "spec containers web args",
            "spec containers web image",
            "spec containers web name",
            "spec containers web ports 80/TCP containerPort",
            "spec containers web ports 80/UDP containerPort",
            "spec containers web ports 80/UDP protocol",
            "spec nodeSelector",
        ]
    );
}

#[test]
fn a_union_has_the_fields_of_both() {
    let data = |fields| FieldSet::parse(&fields).unwrap();
    let both =
        data(json!({"f:data": {"f:a": {}}})).union(&data(json!({"f:data": {"f:b": {}}, "f:type": {}})));
    assert_eq!(both, data(json!({"f:data": {"f:a": {}, "f:b": {}}, "f:type": {}})));
    assert!(covers(&both, &json!({"data": {"a": "1", "b": "2"}})));
}

#[test]
fn what_is_written_in_an_unknown_way_is_no_set() {
    for fields in [json!({"x:a": {}}), json!({"a": {}}), json!({"f:a": 1}), json!({"k:{": {}}), json!(null)] {
        assert_eq!(FieldSet::parse(&fields), None, "{fields}");
    }
}
