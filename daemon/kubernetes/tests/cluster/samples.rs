//! Objects as people declare them, with what is written in an unusual way.

use serde_json::{Value, json};
use trueup_kubernetes::{Gvk, Object};

pub(crate) fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "labels": {"a": "b"}},
        "data": {"a": "1", "b.conf": "2"}})
}

pub(crate) fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "data": {"a": "YQ==", "b": "Yg=="}})
}

pub(crate) fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"a": "b", "app.kubernetes.io/name": "web"}, "annotations": {"trueup.dev/declared": "x"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": pods("web")}})
}

/// A template with defaults left out, quantities in odd spelling, zeros, empty values and two ports of one number.
fn pods(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {
        "automountServiceAccountToken": false, "hostNetwork": false,
        "nodeSelector": {"disk": "ssd"}, "tolerations": [], "imagePullSecrets": [{"name": "pull"}],
        "securityContext": {}, "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "initContainers": [{"name": "first", "image": "a:1"}],
        "containers": [{
            "name": "web", "image": "a:1", "command": ["a"], "args": [], "tty": false,
            "env": [{"name": "A", "value": ""}, {"name": "B", "value": "$(A)"},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "envFrom": [{"configMapRef": {"name": "files", "optional": false}}],
            "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
            "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 1}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 0},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": false}, {"name": "v", "mountPath": "/w"}]}],
        "volumes": [{"name": "v", "emptyDir": {}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "files"}}]}}]}})
}

pub(crate) fn stateful_set() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"replicas": 0, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": pods("db"),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1024Mi"}}}}]}})
}

pub(crate) fn job() -> Value {
    let mut template = pods("once");
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
        "spec": {"suspend": true, "backoffLimit": 0, "template": template}})
}

pub(crate) fn claim() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}})
}

/// One object of each kind that components and most manifests consist of.
pub(crate) fn all() -> Vec<Value> {
    let mut cron_template = pods("cron");
    cron_template["spec"]["restartPolicy"] = json!("Never");
    let mut objects = vec![
        config_map(),
        secret(),
        deployment(),
        stateful_set(),
        job(),
        claim(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixed"}, "immutable": true, "data": {"f0": ""},
            "binaryData": {"f1": "AA=="}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}, "automountServiceAccountToken": false,
            "imagePullSecrets": [{"name": "pull"}]}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "finalizers": ["trueup.dev/a"]},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": pods("agent"),
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}}}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"},
            "spec": {"schedule": "0 0 1 1 *", "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid", "suspend": true,
                "jobTemplate": {"spec": {"template": cron_template}}}}),
    ];
    objects.extend(around());
    objects
}

/// What stands around workloads.
fn around() -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53}, {"name": "http", "port": 80, "targetPort": "http"}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"},
            "spec": {"clusterIP": "None", "publishNotReadyAddresses": true, "selector": {"app": "db"}, "ports": [{"port": 1}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
            "spec": {"tls": [{"hosts": ["a.test"]}], "rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "none"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "read:all"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "read"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read:all"},
            "subjects": [{"kind": "ServiceAccount", "name": "web"}]}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": 0, "selector": {"matchLabels": {"app": "web"}}}}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"},
            "spec": {"limits": [{"type": "PersistentVolumeClaim", "min": {"storage": "1"}}]}}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": {"pods": "0100"}}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lease"}, "spec": {"leaseDurationSeconds": 1}}),
    ]
}

/// Returns a definition of a kind with fields of unknown shape, maps of maps and a set; and the kind.
pub(crate) fn definition(namespace: &str) -> (Object, Gvk) {
    let group = format!("{namespace}.trueup.dev");
    let words = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "maps": {"type": "object", "additionalProperties": words},
                    "lists": {"type": "object", "additionalProperties": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["n"],
                        "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}}}}},
                    "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
                    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}}}]}});
    (definition.into(), Gvk::new(&format!("{group}/v1"), "Thing"))
}

pub(crate) fn thing(kind: &Gvk) -> Value {
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "a"},
        "spec": {"config": {"x": "1"}, "empty": {}, "list": [{"n": "a"}], "nothing": [], "deep": {"a": {"b": {"c": 1}}}},
        "maps": {"m": {"x": "1"}}, "lists": {"l": [{"n": "a"}]}, "atomic": {"x": "1"}, "set": ["a", "b"]})
}
