//! What runs of an environment, and what its cluster says of what is declared, before anything is touched.
//!
//! ```text
//! list what is ours ─ each declared object ─┬─ as it was applied, all of it still ours ─→ in sync, nothing is asked
//!                                           ├─ not there ──→ dry run ─→ new, or somebody else's
//!                                           └─ otherwise ──→ dry run ─→ compared with what is there
//! what is ours and no longer declared ──────→ dry run of its deletion
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use trueup_engine::{Identity, TargetError, Wanted};
use trueup_plan::{
    Foreign, Hand, How, Live, Manner, Observed, Preview, ResourceId, Rule, State, diff, is_around,
};

use crate::{
    ApiError, Kubernetes, Resource,
    ask::Apply,
    compare::{self, Compared},
    facts::{Facts, Finding, Judged},
    names::{DECLARED, ENV_UID, RUN, id_of, is_built_in, owner_of, selector},
    object::{Gvk, Object},
    owners::{Owners, is_applied_by_us},
    plain::Plain,
};

/// How many objects are asked about at a time.
const SIDE_BY_SIDE: usize = 16;

/// One declared object on its way to a plan.
struct Wish {
    number: usize,
    id: ResourceId,
    body: Object,
    resource: Arc<Resource>,
}

/// What was found out about one declared object.
enum Found {
    New {
        spec: Value,
    },
    There {
        compared: Compared,
        live: Object,
        rules: Vec<Rule>,
        irreversible: Option<String>,
        preview: Option<Preview>,
    },
    Refused {
        live: Option<Object>,
        why: String,
    },
    Unknown {
        live: Option<Object>,
        why: String,
    },
    Foreign(Foreign),
}

impl Kubernetes {
    /// Looks at an environment.
    pub(crate) async fn look(&self, identity: &Identity, wanted: &Wanted) -> Result<Live, TargetError> {
        let own = namespace(wanted);
        let mut facts = Facts::default();
        let wishes = self.wishes(identity, wanted, &own, &mut facts).await?;
        let kinds = self.kinds_in_use(&wishes, wanted).await?;
        let mut there = self.owned(identity, &kinds, &namespaces(wanted, &own), &own).await?;
        let mut live = Live::default();
        let found: Vec<(Wish, Found)> = stream::iter(wishes)
            .map(|wish| {
                let known = there.get(&wish.id).map(|(_, object)| object.clone());
                async move { self.judge(identity, &wish, known).await.map(|found| (wish, found)) }
            })
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        let declared: BTreeSet<ResourceId> = found.iter().map(|(wish, _)| wish.id.clone()).collect();
        for (wish, found) in found {
            conclude(&mut live, &mut facts, wish, found);
        }
        there.retain(|id, _| !declared.contains(id));
        for (id, (resource, object)) in there {
            if wanted.resolved.spec.sync.prune && !id.kind.holds_data() {
                let preview = self.preview_of_deletion(&resource, &object).await?;
                live.previews.insert(id.clone(), preview);
            }
            let compared = compare::unchanged(&object);
            live.resources.insert(id, observed(&object, compared.live, compared.body, BTreeMap::new()));
        }
        live.facts = serde_json::to_value(facts).expect("facts are JSON");
        Ok(live)
    }

    /// Returns what is declared, where the cluster has its kind.
    async fn wishes(
        &self,
        identity: &Identity,
        wanted: &Wanted,
        own: &str,
        facts: &mut Facts,
    ) -> Result<Vec<Wish>, TargetError> {
        let (mut wishes, mut seen) = (Vec::new(), BTreeSet::new());
        for (number, plain) in Plain::of(wanted).enumerate() {
            let Some(resource) = self.resource(&plain.gvk).await? else {
                let message = format!("the cluster has no kind {}", plain.gvk);
                let help = "see what it has with `kubectl api-resources`".to_owned();
                facts.findings.push(Finding { number, message, help });
                continue;
            };
            if plain.namespace(&resource, own).as_deref() != Some(own) {
                let message = "it is outside of the environment's namespace".to_owned();
                let help = format!("leave `metadata.namespace` out, or write `{own}`");
                facts.findings.push(Finding { number, message, help });
                continue;
            }
            let id = plain.id(&resource, own);
            if !seen.insert(id.clone()) {
                let message = format!("`{id}` is declared twice");
                facts.findings.push(Finding { number, message, help: "remove one of the two".into() });
                continue;
            }
            if let Some((message, help)) = plain.impossible() {
                facts.findings.push(Finding { number, message: message.into(), help: help.into() });
                continue;
            }
            let body = plain.body(identity, &resource, own);
            wishes.push(Wish { number, id, body, resource });
        }
        Ok(wishes)
    }

    /// Returns the kinds of what is declared, and of what was applied before.
    async fn kinds_in_use(
        &self,
        wishes: &[Wish],
        wanted: &Wanted,
    ) -> Result<Vec<Arc<Resource>>, TargetError> {
        let mut kinds: BTreeMap<Gvk, Arc<Resource>> =
            wishes.iter().map(|wish| (wish.resource.gvk.clone(), Arc::clone(&wish.resource))).collect();
        for applied in before(wanted) {
            let gvk = applied.gvk();
            if !kinds.contains_key(&gvk)
                && let Some(resource) = self.resource(&gvk).await?
            {
                kinds.insert(gvk, resource);
            }
        }
        Ok(kinds.into_values().collect())
    }

    /// Returns everything that carries our label.
    async fn owned(
        &self,
        identity: &Identity,
        kinds: &[Arc<Resource>],
        namespaces: &BTreeSet<String>,
        own: &str,
    ) -> Result<BTreeMap<ResourceId, (Arc<Resource>, Object)>, TargetError> {
        let selector = selector(identity);
        let places = kinds.iter().flat_map(|resource| {
            let inside = namespaces.iter().filter(|_| resource.namespaced).cloned().map(Some);
            let nowhere = (!resource.namespaced).then_some(None);
            inside.chain(nowhere).map(|namespace| (Arc::clone(resource), namespace))
        });
        let places: Vec<(Arc<Resource>, Option<String>)> = places.collect();
        let lists =
            stream::iter(places).map(async |(resource, namespace): (Arc<Resource>, Option<String>)| {
                let mut objects = self.all_of(&resource, namespace.as_deref(), &selector).await?;
                objects.retain(is_applied_by_us);
                Ok::<_, TargetError>((resource, objects))
            });
        let lists: Vec<_> = lists.buffered(SIDE_BY_SIDE).try_collect().await?;
        let named = lists.into_iter().flat_map(|(resource, objects)| {
            objects.into_iter().map(move |object| {
                let id = id_of(&resource.gvk, object.namespace(), own, object.name());
                (id, (Arc::clone(&resource), object))
            })
        });
        Ok(named.collect())
    }

    async fn judge(
        &self,
        identity: &Identity,
        wish: &Wish,
        known: Option<Object>,
    ) -> Result<Found, TargetError> {
        let known = match known {
            Some(live) if is_as_declared(&live, &wish.body) => {
                let compared = compare::unchanged(&live);
                return Ok(Found::There {
                    compared,
                    live,
                    rules: Vec::new(),
                    irreversible: None,
                    preview: None,
                });
            }
            known => known,
        };
        let body = match &known {
            Some(live) => with_run(&wish.body, live.labels().get(RUN).copied()),
            None => wish.body.clone(),
        };
        let apply = Apply { dry_run: true, force: true };
        let answer = match self.call(&wish.resource.apply(&body, apply)).await {
            Ok(answer) => answer,
            Err(error) => return self.not_previewed(wish, known, error).await,
        };
        let after = Object::from(answer.object);
        let live = match known {
            Some(live) => live,
            None if answer.status == 201 => return Ok(Found::New { spec: compare::new(&after) }),
            None => {
                // It lost its label, or is somebody else's.
                let there = self.call(&wish.resource.get(wish.body.namespace(), wish.body.name())).await?;
                let there = Object::from(there.object);
                if there.annotations().get(ENV_UID).is_none_or(|uid| *uid != identity.uid) {
                    return Ok(Found::Foreign(foreign(&there, &wish.id)));
                }
                there
            }
        };
        let compared = compare::compare(&live, &after);
        let preview = Some(Preview::Verified);
        Ok(Found::There { compared, live, rules: Vec::new(), irreversible: None, preview })
    }

    /// Finds out why a dry run was refused: a field that cannot be changed while the object is there is no field that
    /// cannot be.
    async fn not_previewed(
        &self,
        wish: &Wish,
        known: Option<Object>,
        error: ApiError,
    ) -> Result<Found, TargetError> {
        let why = one_line(&error);
        let Some(live) = known else {
            return match error.code {
                _ if error.has_no_dry_run() => Ok(Found::Unknown { live: None, why }),
                _ if error.is_refusal() => Ok(Found::Refused { live: None, why }),
                Some(404 | 415) => Ok(Found::Unknown { live: None, why }),
                _ => Err(error.into()),
            };
        };
        let fixed: Vec<String> = error.fixed_fields().map(str::to_owned).collect();
        match error.code {
            // A policy that says no names no field, and means it.
            Some(422) if !fixed.is_empty() => {}
            _ if error.has_no_dry_run() => return Ok(Found::Unknown { live: Some(live), why }),
            _ if error.is_refusal() => return Ok(Found::Refused { live: Some(live), why }),
            Some(404 | 415) => return Ok(Found::Unknown { live: Some(live), why }),
            _ => return Err(error.into()),
        }
        let another = under_another_name(&wish.body);
        let apply = Apply { dry_run: true, force: true };
        let Ok(answer) = self.call(&wish.resource.apply(&another, apply)).await else {
            return Ok(Found::Refused { live: Some(live), why });
        };
        let mut after = answer.object;
        after["metadata"]["name"] = json!(wish.body.name());
        let compared = compare::compare(&live, &after.into());
        if loses_with_it(&wish.id, &live) {
            let reason = Some(why);
            let rules = vec![Rule { path: String::new(), how: How::Refuse, interrupts: false, reason }];
            return Ok(Found::There { compared, live, rules, irreversible: None, preview: None });
        }
        let differing = diff::diff(&compared.live, &compared.wanted);
        let paths = differing.iter().map(diff::Difference::path);
        let forcing: Vec<String> = paths
            .filter(|path| fixed.iter().any(|field| is_around(field, path) || is_around(path, field)))
            .collect();
        let rule = |path: String| Rule { path, how: How::Recreate, interrupts: true, reason: None };
        let rules = if forcing.is_empty() {
            vec![rule(String::new())]
        } else {
            forcing.into_iter().map(rule).collect()
        };
        let irreversible = Some("the object is deleted and made again, with all that it owns".to_owned());
        Ok(Found::There { compared, live, rules, irreversible, preview: Some(Preview::Verified) })
    }

    async fn preview_of_deletion(
        &self,
        resource: &Resource,
        object: &Object,
    ) -> Result<Preview, TargetError> {
        let uid = object.uid().unwrap_or_default();
        let ask = resource.delete(object.namespace(), object.name(), uid, true);
        match self.call(&ask).await {
            Ok(_) => Ok(Preview::Verified),
            Err(error) if error.is_refusal() => Ok(Preview::Refused { why: one_line(&error) }),
            Err(error) if error.is_missing() || error.is_conflict() => Ok(Preview::Verified),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns whether more is lost with an object than its pods: what it holds or owns, or that it has run.
fn loses_with_it(id: &ResourceId, live: &Object) -> bool {
    let gvk = live.gvk();
    let claims = live.value().pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    id.kind.holds_data()
        || !is_built_in(&gvk.group)
        || (gvk.group == "batch" && gvk.kind == "Job")
        || claims.is_some_and(|when| when == "Delete")
}

/// Returns whether an object was applied as it is declared, and all of that is still ours.
fn is_as_declared(live: &Object, declared: &Object) -> bool {
    let digest = |object: &Object| object.annotations().get(DECLARED).map(|digest| (*digest).to_owned());
    !live.is_going() && digest(live) == digest(declared) && Owners::of(live).covers(declared)
}

fn conclude(live: &mut Live, facts: &mut Facts, wish: Wish, found: Found) {
    let Wish { number, id, body, .. } = wish;
    let mut judged = Judged {
        number,
        id: id.clone(),
        spec: Value::Null,
        body: body.into(),
        rules: Vec::new(),
        irreversible: None,
    };
    match found {
        Found::New { spec } => {
            judged.spec = spec;
            live.previews.insert(id, Preview::Verified);
        }
        Found::There { compared, live: object, rules, irreversible, preview } => {
            let hands = hands(&object, &compared);
            judged.body = with_run(&judged.body.into(), object.labels().get(RUN).copied()).into();
            judged.spec = compared.wanted;
            judged.rules = rules;
            judged.irreversible = irreversible;
            live.resources.insert(id.clone(), observed(&object, compared.live, compared.body, hands));
            live.previews.extend(preview.map(|preview| (id, preview)));
        }
        Found::Refused { live: there, why } => not_asked(live, &mut judged, there, Preview::Refused { why }),
        Found::Unknown { live: there, why } => not_asked(live, &mut judged, there, Preview::Unknown { why }),
        Found::Foreign(foreign) => {
            judged.spec = judged.body.clone();
            live.foreign.push(foreign);
        }
    }
    facts.objects.push(judged);
}

/// Where the cluster has no answer, what is written is what is wanted.
fn not_asked(live: &mut Live, judged: &mut Judged, there: Option<Object>, preview: Preview) {
    judged.spec = judged.body.clone();
    if let Some(object) = there {
        let compared = compare::unchanged(&object);
        live.resources
            .insert(judged.id.clone(), observed(&object, compared.live, compared.body, BTreeMap::new()));
    }
    live.previews.insert(judged.id.clone(), preview);
}

/// Returns who else has each field that differs.
fn hands(object: &Object, compared: &Compared) -> BTreeMap<String, Hand> {
    let owners = Owners::of(object);
    let differing = diff::diff(&compared.live, &compared.wanted).into_iter();
    differing
        .filter_map(|difference| {
            let keys: Vec<&str> = difference.keys.iter().map(String::as_str).collect();
            let hand = owners.hand(&keys)?;
            Some((difference.path(), Hand { who: hand.who.clone(), at: hand.at }))
        })
        .collect()
}

fn observed(object: &Object, spec: Value, body: Value, hands: BTreeMap<String, Hand>) -> Observed {
    let state = State { running: true, ..State::default() };
    Observed {
        body: Some(body),
        noun: Some(object.gvk().kind.to_lowercase()),
        hands,
        ..Observed::new(object.uid().unwrap_or_default().to_owned(), spec, state, owner_of(object))
    }
}

fn foreign(object: &Object, id: &ResourceId) -> Foreign {
    let why = match object.labels().get(crate::names::MANAGED_BY) {
        Some(manager) => format!("it has this name, and is managed by {manager}"),
        None => "it has this name, and is not of this environment".to_owned(),
    };
    Foreign { what: id.to_string(), why, blocks: true }
}

/// Returns the document with the label of the run that created the object.
pub(crate) fn with_run(body: &Object, run: Option<&str>) -> Object {
    let mut body = body.value().clone();
    if let Some(run) = run {
        body["metadata"]["labels"][RUN] = json!(run);
    }
    body.into()
}

/// Returns the document for an object that is not there.
fn under_another_name(body: &Object) -> Object {
    let mut body = body.value().clone();
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let name: String = name.chars().take(40).collect();
    body["metadata"]["name"] = json!(format!("{}-trueup-preview", name.trim_end_matches(['-', '.'])));
    body.into()
}

fn one_line(error: &ApiError) -> String {
    TargetError::from(error.clone()).one_line()
}

/// Returns what was applied to a cluster last. What was applied to an engine has no kinds.
fn before(wanted: &Wanted) -> impl Iterator<Item = Object> {
    let applied = wanted.before.iter().filter(|applied| applied.desired.manner == Manner::Rolling);
    let declared = applied.flat_map(|applied| applied.desired.resources.values());
    declared.map(|declared| declared.body().clone().into())
}

/// Returns the namespaces where something of an environment may be: its own, and those that it was in.
fn namespaces(wanted: &Wanted, own: &str) -> BTreeSet<String> {
    let before = before(wanted).filter_map(|object| object.namespace().map(str::to_owned));
    before.chain([own.to_owned()]).collect()
}

/// Returns the namespace of an environment.
pub(crate) fn namespace(wanted: &Wanted) -> String {
    wanted.resolved.spec.target.namespace.as_ref().map(ToString::to_string).unwrap_or_default()
}
