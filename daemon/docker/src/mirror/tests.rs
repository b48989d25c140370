//! Whatever happens on an engine, in whichever order it is heard and asked: what is known is what it would
//! answer now, and whoever it is about is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{prelude::*, sample::select};
use tokio::sync::OnceCell;
use trueup_engine::{Identity, Notices, notice::Change};

use super::{event::Event, memo::Ticket, question::Question, state::State};
use crate::facts::Engine as Facts;

const ENVIRONMENTS: [&str; 2] = ["a", "b"];
const NAMES: [&str; 6] = ["a-x", "a-y", "b-x", "b-y", "stranger", "another"];
const REFERENCES: [&str; 2] = ["image/a:1", "image/b:1"];

/// How many containers there are in time: an engine gives no id twice.
const IDS: u8 = 8;

/// Something that happens, or that is done with what is known.
#[derive(Debug, Clone)]
enum Deed {
    Create {
        id: u8,
        name: &'static str,
        of: Option<&'static str>,
    },
    Touch {
        id: u8,
    },
    /// Into its files.
    Write {
        id: u8,
    },
    Rename {
        id: u8,
        name: &'static str,
    },
    Destroy {
        id: u8,
    },
    Network {
        id: u8,
        name: &'static str,
    },
    Join {
        id: u8,
        network: u8,
    },
    Volume {
        name: &'static str,
    },
    Tag {
        reference: &'static str,
        image: u8,
    },
    Untag {
        reference: &'static str,
    },
    /// The next events are heard.
    Hear {
        count: usize,
    },
    /// A question goes to the engine; another deed brings the answer back.
    Ask {
        by: &'static str,
        what: u8,
    },
    Answer {
        which: usize,
    },
    Arrive {
        which: usize,
    },
    /// A whole look.
    Look {
        by: &'static str,
    },
    /// The environment is forgotten.
    Forget {
        by: &'static str,
    },
    /// What follows is done by trueup, for this environment.
    Act {
        by: &'static str,
        id: u8,
    },
    Break,
    Begin,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let (id, by, name) = (0_u8..IDS, select(&ENVIRONMENTS[..]), select(&NAMES[..]));
    let network = 0_u8..3;
    let of = prop_oneof![Just(None), select(&ENVIRONMENTS[..]).prop_map(Some)];
    let reference = select(&REFERENCES[..]);
    let deed = prop_oneof![
        2 => (id.clone(), name.clone(), of).prop_map(|(id, name, of)| Deed::Create { id, name, of }),
        2 => id.clone().prop_map(|id| Deed::Touch { id }),
        1 => id.clone().prop_map(|id| Deed::Write { id }),
        1 => (id.clone(), name.clone()).prop_map(|(id, name)| Deed::Rename { id, name }),
        1 => id.clone().prop_map(|id| Deed::Destroy { id }),
        1 => (network.clone(), name.clone()).prop_map(|(id, name)| Deed::Network { id, name }),
        2 => (id.clone(), network).prop_map(|(id, network)| Deed::Join { id, network }),
        1 => name.prop_map(|name| Deed::Volume { name }),
        1 => (reference.clone(), id.clone()).prop_map(|(reference, image)| Deed::Tag { reference, image }),
        1 => reference.prop_map(|reference| Deed::Untag { reference }),
        4 => (1_usize..5).prop_map(|count| Deed::Hear { count }),
        3 => (by.clone(), 0..8 * IDS).prop_map(|(by, what)| Deed::Ask { by, what }),
        3 => (0_usize..4).prop_map(|which| Deed::Answer { which }),
        3 => (0_usize..4).prop_map(|which| Deed::Arrive { which }),
        3 => by.clone().prop_map(|by| Deed::Look { by }),
        1 => by.clone().prop_map(|by| Deed::Forget { by }),
        1 => (by, id).prop_map(|(by, id)| Deed::Act { by, id }),
        1 => Just(Deed::Break),
        1 => Just(Deed::Begin),
    ];
    prop::collection::vec(deed, 1..80)
}

#[derive(Debug, Clone, Default)]
struct Container {
    name: String,
    uid: Option<String>,
    touched: u32,
    /// What its files hold: no act of our own writes there.
    written: u32,
    networks: BTreeSet<String>,
}

/// An engine, as far as it matters here.
#[derive(Debug, Clone, Default)]
struct Engine {
    ids: BTreeSet<String>,
    containers: BTreeMap<String, Container>,
    networks: BTreeMap<String, String>,
    volumes: BTreeSet<String>,
    images: BTreeMap<String, u8>,
}

impl Engine {
    /// Does what somebody wants; returns the events.
    fn change(&mut self, deed: &Deed) -> Vec<Event> {
        match deed {
            Deed::Create { id, name, of } if self.ids.insert(container_id(*id)) => {
                let uid = of.map(uid);
                let made = Container { name: (*name).to_owned(), uid, ..Container::default() };
                self.containers.insert(container_id(*id), made);
                self.of_container(*id, true, None)
            }
            Deed::Touch { id } | Deed::Act { id, .. } => {
                if let Some(container) = self.containers.get_mut(&container_id(*id)) {
                    container.touched += 1;
                }
                self.of_container(*id, false, None)
            }
            Deed::Write { id } => {
                if let Some(container) = self.containers.get_mut(&container_id(*id)) {
                    container.written += 1;
                }
                self.of_container(*id, false, None)
            }
            Deed::Rename { id, name } => {
                let Some(container) = self.containers.get_mut(&container_id(*id)) else { return Vec::new() };
                let old = std::mem::replace(&mut container.name, (*name).to_owned());
                self.of_container(*id, true, Some(old))
            }
            Deed::Destroy { id } => {
                let mut events = self.of_container(*id, true, None);
                let gone = self.containers.remove(&container_id(*id));
                for network in gone.into_iter().flat_map(|gone| gone.networks) {
                    events.insert(0, Event::Member { network, container: container_id(*id) });
                }
                events
            }
            Deed::Network { id, name } => vec![self.network(&format!("n{id}"), name)],
            Deed::Join { id, network } => {
                let network = format!("n{network}");
                let container = self.containers.get_mut(&container_id(*id));
                let Some(container) = container.filter(|_| self.networks.contains_key(&network)) else {
                    return Vec::new();
                };
                if !container.networks.remove(&network) {
                    container.networks.insert(network.clone());
                }
                vec![Event::Member { network, container: container_id(*id) }]
            }
            Deed::Volume { name } => {
                if !self.volumes.remove(*name) {
                    self.volumes.insert((*name).to_owned());
                }
                vec![Event::Volume { name: (*name).to_owned() }]
            }
            Deed::Tag { reference, image } => {
                self.images.insert((*reference).to_owned(), *image);
                vec![Event::Tag { id: format!("i{image}"), reference: (*reference).to_owned() }]
            }
            Deed::Untag { reference } => {
                self.images.remove(*reference).map(|_| Event::Image).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Makes a network, or removes it; one that is in use is made again under another name.
    fn network(&mut self, id: &str, name: &str) -> Event {
        let is_used = self.containers.values().any(|container| container.networks.contains(id));
        let is_there = self.networks.remove(id).is_some();
        if is_used || !is_there {
            self.networks.insert(id.to_owned(), name.to_owned());
        }
        if is_used && is_there {
            return Event::Everything;
        }
        Event::Network { id: id.to_owned(), name: name.to_owned() }
    }

    fn of_container(&self, id: u8, listed: bool, old: Option<String>) -> Vec<Event> {
        let id = container_id(id);
        let Some(container) = self.containers.get(&id) else { return Vec::new() };
        let names = [Some(container.name.clone()), old].into_iter().flatten().collect();
        vec![Event::Container { id, names, uid: container.uid.clone(), listed }]
    }

    fn answer(&self, question: &Question) -> String {
        match question {
            Question::Containers => {
                let all = self.containers.iter();
                let lines =
                    all.map(|(id, one)| format!("{id} {} {}", one.name, one.uid.clone().unwrap_or_default()));
                lines.collect::<Vec<_>>().join("\n")
            }
            Question::Networks => format!("{:?}", self.networks),
            Question::Volumes => self.volumes.iter().cloned().collect::<Vec<_>>().join("\n"),
            Question::Container(id) => format!("{:?}", self.containers.get(id)),
            Question::Members(id) => {
                let members = self.containers.iter().filter(|(_, one)| one.networks.contains(id));
                format!("{:?}", members.map(|(id, one)| (id, &one.name)).collect::<Vec<_>>())
            }
            Question::Image(name) => format!("{:?}", self.images.get(name)),
            Question::Files(id) => format!("{:?}", self.containers.get(id).map(|one| one.written)),
        }
    }
}

fn container_id(id: u8) -> String {
    format!("c{id}")
}

fn uid(environment: &str) -> String {
    format!("uid-{environment}")
}

fn identity(environment: &str) -> Identity {
    Identity {
        store: "s".into(),
        source: "local".parse().unwrap(),
        environment: environment.parse().unwrap(),
        uid: uid(environment),
    }
}

/// What a look of an environment is about, given who answers.
fn picture(environment: &str, mut ask: impl FnMut(&Question) -> String) -> Vec<String> {
    let prefix = format!("{environment}-");
    let own = format!(" {}", uid(environment));
    let containers = ask(&Question::Containers);
    let mine = containers.lines().filter(|line| {
        line.ends_with(&own) || line.split(' ').nth(1).is_some_and(|name| name.starts_with(&prefix))
    });
    let mut seen: Vec<String> = mine.map(str::to_owned).collect();
    let ids =
        containers.lines().filter(|line| line.ends_with(&own)).filter_map(|line| line.split(' ').next());
    for id in ids {
        seen.push(ask(&Question::Container(id.to_owned())));
        seen.push(ask(&Question::Files(id.to_owned())));
    }
    let networks = ask(&Question::Networks);
    for id in ["n0", "n1", "n2"].into_iter().filter(|id| networks.contains(&format!("{id:?}: \"{prefix}"))) {
        seen.push(format!("{id} {}", ask(&Question::Members(id.to_owned()))));
    }
    let volumes = ask(&Question::Volumes);
    seen.extend(volumes.lines().filter(|name| name.starts_with(&prefix)).map(str::to_owned));
    seen.push(ask(&Question::Image(format!("image/{environment}:1"))));
    seen
}

/// A question on its way.
struct Under {
    question: Question,
    ticket: Ticket,
    answer: Option<String>,
}

/// An engine, what is known of it, and what is under way between them.
struct Scene {
    engine: Engine,
    state: State,
    notices: Arc<Notices>,
    hears: bool,
    events: VecDeque<Event>,
    questions: Vec<Under>,
    /// What each environment saw last.
    seen: BTreeMap<&'static str, Vec<String>>,
    told: BTreeMap<&'static str, Change>,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            engine: Engine::default(),
            state: State::default(),
            notices: Arc::default(),
            hears: false,
            events: VecDeque::new(),
            questions: Vec::new(),
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    fn hear(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.events.pop_front() else { return };
            let concerned = self.state.hear(&event);
            self.notices.tell(&concerned, self.now);
        }
    }

    fn note_told(&mut self) {
        for (key, change) in self.notices.take() {
            let known = ENVIRONMENTS.into_iter().find(|name| key.environment.as_str() == *name);
            self.told.insert(known.unwrap(), change);
        }
    }

    /// A whole look, answered at once.
    fn look(&mut self, by: &'static str) -> Vec<String> {
        self.note_told();
        self.told.remove(by);
        self.notices.look(&identity(by).key());
        self.state.look(&identity(by));
        let (key, state, engine) = (identity(by).key(), &mut self.state, &self.engine);
        let seen = picture(by, |question| match state.ask::<String>(&key, question) {
            Ok(answer) => answer,
            Err(ticket) => {
                let answer = engine.answer(question);
                if let Some(ticket) = ticket {
                    state.record(question, ticket, answer.clone());
                }
                answer
            }
        });
        self.seen.insert(by, seen.clone());
        seen
    }

    fn ask(&mut self, by: &'static str, what: u8) {
        // Only a look asks, and only for what there was.
        let Some(id) =
            self.engine.ids.iter().nth(usize::from(what / 8)).filter(|_| self.seen.contains_key(by))
        else {
            return;
        };
        let question = match what % 8 {
            0 => Question::Containers,
            1 => Question::Networks,
            2 => Question::Volumes,
            3 => Question::Members(format!("n{}", what % 3)),
            4 => Question::Image(format!("image/{by}:1")),
            _ => Question::Container(id.clone()),
        };
        if let Err(Some(ticket)) = self.state.ask::<String>(&identity(by).key(), &question) {
            self.questions.push(Under { question, ticket, answer: None });
        }
    }

    fn arrive(&mut self, which: usize) {
        if self.questions.get(which).is_some_and(|under| under.answer.is_some()) {
            let Under { question, ticket, answer } = self.questions.remove(which);
            self.state.record(&question, ticket, answer.unwrap());
        }
    }

    fn forget(&mut self, by: &'static str) {
        self.note_told();
        self.told.remove(by);
        self.seen.remove(by);
        self.state.forget(&identity(by).key());
        self.notices.forget(&identity(by).key());
    }

    fn act(&mut self, by: &'static str, deed: &Deed) {
        let key = identity(by).key();
        let _echoes = self.notices.act(key.clone());
        self.change(deed);
        self.state.end_act(&key);
    }

    fn change(&mut self, deed: &Deed) {
        let events = self.engine.change(deed);
        if self.hears {
            self.events.extend(events);
        }
    }

    fn step(&mut self, deed: &Deed) {
        match deed {
            Deed::Hear { count } => self.hear(*count),
            Deed::Ask { by, what } => self.ask(by, *what),
            Deed::Answer { which } => {
                if let Some(under) = self.questions.get_mut(*which) {
                    under.answer = Some(self.engine.answer(&under.question));
                }
            }
            Deed::Arrive { which } => self.arrive(*which),
            Deed::Look { by } => drop(self.look(by)),
            Deed::Forget { by } => self.forget(by),
            Deed::Act { by, .. } => self.act(by, deed),
            Deed::Break => {
                self.hears = false;
                self.events.clear();
                self.state.end_hearing();
            }
            Deed::Begin if !self.hears => {
                self.hears = true;
                self.state.begin_hearing();
                self.notices.tell_all(Change::Foreign);
            }
            _ => self.change(deed),
        }
    }
}

proptest! {
    #[test]
    fn what_is_known_is_what_the_engine_would_answer(deeds in deeds()) {
        let mut scene = Scene::new();
        scene.step(&Deed::Begin);
        for deed in &deeds {
            scene.step(deed);
        }
        scene.step(&Deed::Begin);
        scene.hear(usize::MAX);
        for which in (0..scene.questions.len()).rev() {
            scene.step(&Deed::Answer { which });
            scene.arrive(which);
        }
        scene.note_told();
        for environment in ENVIRONMENTS {
            let fresh = picture(environment, |question| scene.engine.answer(question));
            // One that never looked is told nothing.
            let moved = scene.seen.get(environment).is_some_and(|seen| *seen != fresh);
            prop_assert!(!moved || scene.told.contains_key(environment), "`{environment}` was told nothing");
            prop_assert_eq!(scene.look(environment), fresh);
        }
    }

    #[test]
    fn an_act_of_our_own_is_seen_before_its_events(deeds in deeds(), id in 0_u8..IDS) {
        let mut scene = Scene::new();
        scene.step(&Deed::Begin);
        for deed in deeds.iter().filter(|deed| !matches!(deed, Deed::Break)) {
            scene.step(deed);
        }
        scene.hear(usize::MAX);
        scene.look("a");
        for deed in [
            Deed::Create { id, name: "a-x", of: Some("a") },
            Deed::Touch { id },
            Deed::Rename { id, name: "a-y" },
            Deed::Volume { name: "a-x" },
            // An engine gives no id twice.
            Deed::Network { id: IDS, name: "a-x" },
            Deed::Destroy { id },
        ] {
            scene.act("a", &deed);
            let fresh = picture("a", |question| scene.engine.answer(question));
            prop_assert_eq!(scene.look("a"), fresh, "after {:?}", deed);
        }
    }
}

#[test]
fn what_we_did_ourselves_is_an_echo_for_a_while() {
    let mut scene = Scene::new();
    scene.step(&Deed::Begin);
    scene.look("a");
    scene.step(&Deed::Create { id: 0, name: "a-x", of: Some("a") });
    scene.act("a", &Deed::Touch { id: 0 });
    scene.hear(usize::MAX);
    scene.note_told();
    assert_eq!(scene.told["a"], Change::Echo);
    scene.now += Duration::from_secs(2);
    scene.step(&Deed::Touch { id: 0 });
    scene.hear(1);
    scene.note_told();
    assert_eq!(scene.told["a"], Change::Foreign);
}

#[test]
fn what_concerns_nobody_puts_nothing_in_doubt() {
    let mut scene = Scene::new();
    scene.step(&Deed::Begin);
    scene.look("a");
    scene.step(&Deed::Create { id: 0, name: "stranger", of: None });
    scene.step(&Deed::Volume { name: "another" });
    scene.hear(usize::MAX);
    let key = identity("a").key();
    assert!(scene.state.ask::<String>(&key, &Question::Containers).is_ok());
    assert!(scene.state.ask::<String>(&key, &Question::Volumes).is_ok());
    assert!(scene.notices.take().is_empty());
    // Who looks for the first time may be about it; who comes next finds what that one asked for.
    for (new, is_known) in [("b", false), ("c", true)] {
        scene.state.look(&identity(new));
        for list in [Question::Containers, Question::Volumes] {
            let asked = scene.state.ask::<String>(&identity(new).key(), &list);
            assert_eq!(asked.is_ok(), is_known, "{new}: {list:?}");
        }
        scene.look(new);
    }
}

/// Asks for a container in the name of `a`, and remembers the answer.
fn known_container(scene: &mut Scene) -> Question {
    let (key, question) = (identity("a").key(), Question::Container("c".into()));
    let Err(Some(ticket)) = scene.state.ask::<String>(&key, &question) else { panic!("nobody has asked") };
    scene.state.record(&question, ticket, "x".to_owned());
    assert!(scene.state.ask::<String>(&key, &question).is_ok());
    question
}

#[test]
fn what_no_look_asks_for_any_more_is_forgotten() {
    let mut scene = Scene::new();
    scene.step(&Deed::Begin);
    scene.look("a");
    let (key, gone) = (identity("a").key(), known_container(&mut scene));
    for _ in 0..6 {
        scene.look("a");
    }
    assert!(scene.state.ask::<String>(&key, &gone).is_err());
}

#[test]
fn a_forgotten_environment_is_told_nothing_and_leaves_what_others_ask_for() {
    let mut scene = Scene::new();
    scene.step(&Deed::Begin);
    scene.look("a");
    scene.look("b");
    let its_own = known_container(&mut scene);
    scene.step(&Deed::Volume { name: "a-x" });
    scene.hear(usize::MAX);
    assert_eq!(scene.state.forget(&identity("a").key()), Some(uid("a")));
    scene.notices.forget(&identity("a").key());
    assert!(scene.notices.take().is_empty());
    scene.step(&Deed::Volume { name: "a-y" });
    scene.hear(usize::MAX);
    assert!(scene.notices.take().is_empty());
    let key = identity("b").key();
    assert!(scene.state.ask::<String>(&key, &its_own).is_err());
    assert!(scene.state.ask::<String>(&key, &Question::Networks).is_ok());
    assert_eq!(scene.state.forget(&identity("a").key()), None);
}

#[test]
fn what_the_engine_says_of_itself_is_asked_again_when_the_events_begin_anew() {
    let mut scene = Scene::new();
    let is_known = |scene: &Scene| scene.state.engine().initialized();
    let answer = |cell: Arc<OnceCell<Facts>>| cell.set(Facts::default()).unwrap();
    // Nobody hears: so it is for the command line.
    answer(scene.state.engine());
    assert!(is_known(&scene));
    for _ in 0..2 {
        scene.step(&Deed::Begin);
        assert!(!is_known(&scene));
        let asked = scene.state.engine();
        scene.look("a");
        answer(asked);
        assert!(is_known(&scene));
        scene.step(&Deed::Break);
        assert!(!is_known(&scene));
        answer(scene.state.engine());
        assert!(!is_known(&scene));
    }
    let asked = scene.state.engine();
    scene.step(&Deed::Begin);
    answer(asked);
    assert!(!is_known(&scene));
}

#[test]
fn delivered_files_that_may_have_changed_are_told_to_all_and_put_no_answer_in_doubt() {
    let mut scene = Scene::new();
    scene.step(&Deed::Begin);
    scene.look("a");
    scene.look("b");
    scene.note_told();
    scene.told.clear();
    let question = known_container(&mut scene);
    let concerned = scene.state.hear(&Event::Files);
    scene.notices.tell(&concerned, scene.now);
    scene.note_told();
    assert_eq!(scene.told.keys().copied().collect::<Vec<_>>(), ENVIRONMENTS);
    assert!(scene.state.ask::<String>(&identity("a").key(), &question).is_ok());
}
