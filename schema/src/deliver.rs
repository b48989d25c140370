//! What goes into the containers: files read, templates computed, secrets put in their place.
//!
//! What a secret went into is a secret from the moment that it exists, and no error shows a part of it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ComponentName, Content, DeliveredFile, Deliveries, DigestKey, Files, Limits, Materials, Place, Problem,
    RepoPath, Report, Resolved, ResolvedComponent, Secret, SecretRef, Severity,
    context::{Connects, own_fields, scope},
    document::{Kind, Shapes},
    expression::{Engine, Scope},
    manifest::{FileSpec, SecretSpec},
    resolve::surroundings,
    resolved::edit_command,
    rules::{
        container::{parse_mode, parse_owner},
        delivery::PULL,
    },
    template::Template,
    yaml::{Mark, Node},
};

/// The opened secrets of an environment by file and key, as [`SecretRef`] names them.
pub type Opened = BTreeMap<(RepoPath, Option<String>), Secret<Vec<u8>>>;

impl Resolved {
    /// Returns every secret that the environment needs: those of all components, in their order.
    pub fn secret_refs(&self) -> Vec<&SecretRef> {
        self.components.values().flat_map(|component| &component.secret_refs).collect()
    }

    /// Returns what each component gets delivered, and the bytes behind the digests.
    ///
    /// `opened` holds every secret of [`Resolved::secret_refs`]; one that is missing, or empty, is an
    /// error. The limits are the defaults of [`Limits`].
    pub fn deliver(
        &self,
        files: &dyn Files,
        opened: &Opened,
        key: &DigestKey,
    ) -> Result<(BTreeMap<ComponentName, Deliveries>, Materials), Report> {
        let limits = Limits::default();
        let mut delivery = Delivery::new(self, files, &limits, Some((opened, key)));
        let mut deliveries = BTreeMap::new();
        for component in self.components.values() {
            deliveries.insert(component.name.clone(), delivery.component(component));
        }
        if delivery.problems.is_empty() {
            Ok((deliveries, delivery.materials))
        } else {
            Err(Report::sorted(delivery.problems, delivery.read))
        }
    }

    /// Checks the files that say `template: true` without their secrets: syntax and names.
    pub fn check_templates(&self, files: &dyn Files, limits: &Limits) -> Report {
        self.check_templates_with(files, limits, Shapes::new().into())
    }

    /// Does what [`Resolved::check_templates`] does, with shapes that are there already.
    pub(crate) fn check_templates_with(
        &self,
        files: &dyn Files,
        limits: &Limits,
        shapes: Arc<Shapes>,
    ) -> Report {
        let mut delivery = Delivery::new(self, files, limits, None);
        delivery.shapes = Some(shapes);
        for component in self.components.values() {
            let templates = component.spec.files.iter().filter(|file| file.template);
            for file in templates {
                drop(delivery.content(component, file));
            }
        }
        Report::sorted(delivery.problems, delivery.read)
    }
}

struct Delivery<'a> {
    resolved: &'a Resolved,
    files: &'a dyn Files,
    limits: &'a Limits,
    open: Option<(&'a Opened, &'a DigestKey)>,
    engine: Engine,
    shapes: Option<Arc<Shapes>>,
    scopes: BTreeMap<ComponentName, Scope>,
    materials: Materials,
    problems: Vec<Problem>,
    bytes: u64,
    read: usize,
}

impl<'a> Delivery<'a> {
    fn new(
        resolved: &'a Resolved,
        files: &'a dyn Files,
        limits: &'a Limits,
        open: Option<(&'a Opened, &'a DigestKey)>,
    ) -> Self {
        Self {
            resolved,
            files,
            limits,
            open,
            engine: Engine::new(limits.fuel),
            shapes: None,
            scopes: BTreeMap::new(),
            materials: Materials::default(),
            problems: Vec::new(),
            bytes: 0,
            read: 0,
        }
    }

    fn component(&mut self, component: &ResolvedComponent) -> Deliveries {
        let mut deliveries = Deliveries::default();
        for file in &component.spec.files {
            let Some(content) = self.content(component, file) else { continue };
            let origin = Place { file: file.from.clone(), line: 1, column: 1 };
            let owner = (file.owner.as_deref(), file.mode.as_deref(), 0o444);
            deliveries.files.extend(self.file(&file.to, content, owner, origin));
        }
        for secret in &component.spec.secrets {
            self.secret(component, secret, &mut deliveries);
        }
        if component.spec.pull.is_some() {
            let plaintext = self.plaintext(component, PULL);
            deliveries.pull = plaintext.and_then(|secret| self.insert(Content::Secret(secret)));
        }
        deliveries
    }

    fn secret(&mut self, component: &ResolvedComponent, secret: &SecretSpec, deliveries: &mut Deliveries) {
        let Some(plaintext) = self.plaintext(component, &secret.name) else { return };
        let Some(place) = reference(component, &secret.name).map(|reference| reference.place.clone()) else {
            return;
        };
        if let Some(target) = &secret.file {
            let origin = reference(component, &secret.name).map_or(place.clone(), |reference| Place {
                file: reference.file.clone(),
                line: 1,
                column: 1,
            });
            let owner = (secret.owner.as_deref(), secret.mode.as_deref(), 0o400);
            let content = Content::Secret(plaintext.share());
            deliveries.files.extend(self.file(target, content, owner, origin));
            if let Some(variable) = &secret.path_env {
                deliveries.path_env.insert(variable.clone(), target.clone());
            }
        }
        if let Some(variable) = secret.env.as_ref().filter(|_| secret.exposed) {
            let text = std::str::from_utf8(plaintext.expose()).is_ok_and(|text| !text.contains('\0'));
            if !text {
                let message =
                    format!("the secret `{}` is no text, an environment variable needs one", secret.name);
                return self.problem(&place, message, "deliver it as a `file`");
            }
            // An editor's newline at the end is no part of a value.
            let end =
                plaintext.expose().iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
            let value = Secret::new(plaintext.expose()[..end].to_vec());
            let digest = self.insert(Content::Secret(value));
            deliveries.exposed.extend(digest.map(|digest| (variable.clone(), digest)));
        }
    }

    fn file(
        &mut self,
        target: &str,
        content: Content,
        (owner, mode, default_mode): (Option<&str>, Option<&str>, u32),
        origin: Place,
    ) -> Option<(String, DeliveredFile)> {
        let digest = self.insert(content)?;
        let (uid, gid) = owner.and_then(parse_owner).unwrap_or((0, 0));
        let mode = mode.and_then(parse_mode).unwrap_or(default_mode);
        Some((target.to_owned(), DeliveredFile { digest, mode, uid, gid, origin }))
    }

    fn insert(&mut self, content: Content) -> Option<crate::ContentDigest> {
        let (_, key) = self.open?;
        Some(self.materials.insert(key, content))
    }

    /// Returns the content of a file, computed when it is a template.
    fn content(&mut self, component: &ResolvedComponent, file: &FileSpec) -> Option<Content> {
        let place = component.places.find(&format!("files[{}].from", file.to)).cloned();
        let place = place.unwrap_or_else(|| Place { file: file.from.clone(), line: 1, column: 1 });
        let size = self.files.root().get(&file.from).map_or(0, |entry| entry.size);
        self.bytes = self.bytes.saturating_add(size);
        if size > self.limits.file_bytes || self.bytes > self.limits.delivered_bytes {
            let message = format!("`{}` has {size} bytes, more than can be delivered", file.from);
            self.problem(&place, message, "put large files into the image or a volume");
            return None;
        }
        self.read += 1;
        let bytes = match self.files.read(&file.from) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.problem(
                    &place,
                    error.to_string(),
                    "a delivered file has to be a regular file of the repository",
                );
                return None;
            }
        };
        if !file.template {
            return Some(Content::Plain(bytes));
        }
        if !self.scopes.contains_key(&component.name) {
            let scope = self.scope(component);
            self.scopes.insert(component.name.clone(), scope);
        }
        let template = Template {
            path: &file.from,
            bytes: &bytes,
            delimiters: file.delimiters.as_ref(),
            limit: self.limits.file_bytes,
        };
        match template.compute(&self.engine, &self.scopes[&component.name], self.open.is_some()) {
            Ok(content) => Some(content),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn scope(&mut self, component: &ResolvedComponent) -> Scope {
        let shape = self.shapes.get_or_insert_with(|| Shapes::new().into()).spec(Kind::Component);
        let spec = serde_json::to_value(&component.spec).expect("every part of it has text keys");
        let own = own_fields(&Node::of_json(&spec, &Mark::nowhere()), shape, false);
        let secrets = component.spec.secrets.iter().map(|secret| {
            let plaintext = self.open.and_then(|(opened, _)| {
                let reference = reference(component, &secret.name)?;
                opened.get(&(reference.file.clone(), reference.key.clone())).map(Secret::share)
            });
            (secret.name.clone(), plaintext)
        });
        let surroundings = surroundings(&self.resolved.name, &self.resolved.spec);
        scope(&surroundings, own, &Connects::Declared(&component.endpoints, &[]), secrets.collect())
    }

    fn plaintext(&mut self, component: &ResolvedComponent, name: &str) -> Option<Secret<Vec<u8>>> {
        let (opened, _) = self.open?;
        let reference = reference(component, name)?;
        let found = opened.get(&(reference.file.clone(), reference.key.clone()));
        let shown = match &reference.key {
            Some(key) => format!("{}#{key}", reference.file),
            None => reference.file.to_string(),
        };
        match found {
            None => {
                let help = format!("see `trueup secret check {}`", self.resolved.name);
                self.problem(&reference.place, format!("the secret `{shown}` is not there"), &help);
                None
            }
            Some(secret) if secret.expose().is_empty() => {
                let help = format!(
                    "write a value with `{}`",
                    edit_command(self.resolved.name.as_str(), &reference.file)
                );
                self.problem(&reference.place, format!("the secret `{shown}` is empty"), &help);
                None
            }
            Some(secret) => Some(secret.share()),
        }
    }

    fn problem(&mut self, place: &Place, message: String, help: &str) {
        self.problems.push(Problem {
            place: place.clone(),
            severity: Severity::Error,
            message,
            help: Some(help.to_owned()),
            source_line: None,
            width: 1,
        });
    }
}

fn reference<'a>(component: &'a ResolvedComponent, name: &str) -> Option<&'a SecretRef> {
    component.secret_refs.iter().find(|reference| reference.name == name)
}
