//! A configuration repository of any size: the same bytes for the same seed, written by `git fast-import`.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How large a repository is, and where its components come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// How many environments there are.
    pub(crate) environments: usize,
    /// How many components each of them has.
    pub(crate) components: usize,
    /// Where the components come from.
    pub(crate) catalogue: Catalogue,
    /// What the components are.
    pub(crate) workload: Workload,
    /// Another one is another choice of components, versions and texts.
    pub(crate) seed: u64,
}

/// Where the components of an environment come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Catalogue {
    /// So many components, of which each environment uses some.
    Shared(usize),
    /// Each environment has components of its own.
    Own,
}

/// What the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each program that includes this module uses one of them")]
pub(crate) enum Workload {
    /// Containers, with what a service usually declares.
    Service,
    /// Endpoints that others run: nothing has to be started for them.
    External,
}

/// A bare repository that was written here.
#[derive(Debug)]
pub(crate) struct Repository {
    folder: PathBuf,
    size: Size,
    commits: u64,
}

/// The branch that everything is committed to.
const BRANCH: &str = "refs/heads/main";

impl Repository {
    /// Writes a repository into an empty folder, as one commit.
    pub(crate) fn create(folder: &Path, size: Size) -> io::Result<Self> {
        run(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(folder))?;
        let mut repository = Self { folder: folder.to_owned(), size, commits: 0 };
        let files = size.files();
        repository.commit("everything", &files)?;
        Ok(repository)
    }

    /// Commits some files, each with its whole text, and returns the commit's id.
    pub(crate) fn commit(&mut self, subject: &str, files: &[(String, String)]) -> io::Result<String> {
        let mut stream = String::new();
        let at = 1_790_000_000 + self.commits;
        let parent = if self.commits == 0 { String::new() } else { format!("from {BRANCH}^0\n") };
        let head = format!("commit {BRANCH}\ncommitter A Person <a@example.org> {at} +0000\n");
        let written = write!(stream, "{head}data {}\n{subject}\n{parent}", subject.len());
        written.map_err(io::Error::other)?;
        for (path, text) in files {
            let written = write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len());
            written.map_err(io::Error::other)?;
        }
        let mut git = Command::new("git")
            .arg("-C")
            .arg(&self.folder)
            .args(["fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()?;
        git.stdin.take().ok_or_else(|| io::Error::other("it is a pipe"))?.write_all(stream.as_bytes())?;
        let status = git.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("`git fast-import` ended with {status}")));
        }
        self.commits += 1;
        run(Command::new("git").arg("-C").arg(&self.folder).args(["rev-parse", BRANCH]))
    }

    /// Returns the manifest of an environment, which another `generation` makes another one.
    pub(crate) fn environment(&self, number: usize, generation: usize) -> (String, String) {
        self.size.environment(number, generation)
    }

    /// Returns the manifest of the first component of an environment, of another `generation`.
    pub(crate) fn component(&self, environment: usize, generation: usize) -> (String, String) {
        self.size.component(&self.size.names(environment), 0, generation)
    }
}

/// Returns the name of an environment.
pub(crate) fn environment_name(number: usize) -> String {
    format!("env-{number:04}")
}

impl Size {
    fn files(self) -> Vec<(String, String)> {
        let header = "apiVersion: trueup.dev/v1\nkind: Repository\nmetadata: {name: generated}\nspec: {}\n";
        let mut files = vec![("trueup.yaml".to_owned(), header.to_owned())];
        let lists: Vec<Vec<String>> = match self.catalogue {
            Catalogue::Shared(count) => vec![(0..count).map(shared_name).collect()],
            Catalogue::Own => (0..self.environments).map(|number| self.names(number)).collect(),
        };
        for names in &lists {
            files.extend((0..names.len()).map(|index| self.component(names, index, 0)));
        }
        let configurations =
            lists.iter().flatten().map(|name| group(name)).collect::<std::collections::BTreeSet<_>>();
        files.extend(configurations.into_iter().map(configuration));
        files.extend((0..self.environments).map(|number| self.environment(number, 0)));
        files
    }

    /// Returns the names of the components of an environment, in an order in which each may call those before it.
    fn names(self, environment: usize) -> Vec<String> {
        match self.catalogue {
            Catalogue::Own => {
                (0..self.components).map(|index| format!("c{environment:04}-{index}")).collect()
            }
            // Neighbours call each other, so that they are used together.
            Catalogue::Shared(count) => {
                let first = usize::try_from(draw(self.seed, environment) % count as u64).unwrap_or_default();
                let mut numbers: Vec<_> =
                    (0..self.components.min(count)).map(|index| (first + index) % count).collect();
                numbers.sort_unstable();
                numbers.into_iter().map(shared_name).collect()
            }
        }
    }

    fn environment(self, number: usize, generation: usize) -> (String, String) {
        let name = environment_name(number);
        let names = self.names(number);
        let zones = match self.workload {
            Workload::Service => "\n  zones:\n    data: {}\n    edge: {}",
            Workload::External => "",
        };
        let text = format!(
            "apiVersion: trueup.dev/v1\nkind: Environment\nmetadata: {{name: {name}}}\nspec:\n  \
             target: {{docker: local}}\n  class: development\n  sync: {{interval: 1h}}{zones}\n  \
             components: [{}]\n  variables: {{registry: registry.example.org, generation: \"{generation}\"}}\n",
            names.join(", "),
        );
        (format!("environments/{name}/environment.yaml"), text)
    }

    /// Returns the manifest of the component `names[index]`.
    fn component(self, names: &[String], index: usize, generation: usize) -> (String, String) {
        let name = &names[index];
        let spec = match self.workload {
            Workload::External => format!(
                "  workload: external\n  address: {name}.example.org\n  ports:\n    - {{name: http, port: {}}}\n",
                8000 + generation
            ),
            Workload::Service => self.service(name, index, generation),
        };
        let text =
            format!("apiVersion: trueup.dev/v1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n{spec}");
        (format!("components/{name}.yaml"), text)
    }

    fn service(self, name: &str, index: usize, generation: usize) -> String {
        let version = format!("{}.{generation}", draw(self.seed, index) % 40);
        format!(
            "  version: \"{version}\"\n  \
             image: ${{variables.registry}}/{name}:{version}\n  \
             license: Apache-2.0\n  \
             zone: data\n  \
             env:\n    \
               LOG_LEVEL: info\n    \
               LISTEN: \"0.0.0.0:8080\"\n    \
               GENERATION: \"{generation}\"\n    \
               DOMAIN: ${{environment.domain}}\n    \
               HEAP: \"${{self.resources.memory / 2}}\"\n  \
             files:\n    \
               - {{from: {}, to: /etc/app/app.conf, mode: \"0444\"}}\n  \
             ports:\n    \
               - {{name: http, port: 8080}}\n    \
               - {{name: metrics, port: 9090}}\n  \
             health: {{http: {{path: /health, port: http}}, interval: 5s, timeout: 3s, startup: 60s}}\n  \
             resources: {{cpu: \"1\", memory: 256Mi}}\n",
            configuration(group(name)).0,
        )
    }
}

fn shared_name(number: usize) -> String {
    format!("shared-{number}")
}

/// Returns what the components that get the same file have in common.
fn group(name: &str) -> &str {
    match name.split_once('-') {
        Some((own, _)) if own.starts_with('c') => own,
        _ => name,
    }
}

fn configuration(group: &str) -> (String, String) {
    let lines: Vec<_> = (0..20).map(|line| format!("{group}.option-{line} = {line}")).collect();
    (format!("files/{group}/app.conf"), lines.join("\n"))
}

/// Draws a number (`SplitMix64`).
fn draw(seed: u64, number: usize) -> u64 {
    let mut z = seed.wrapping_add((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("{command:?} ended with {}: {why}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
