//! `status --watch`: the table again whenever something has changed. The store stays open.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use trueup_schema::EnvironmentName;

use super::overview::rows;
use crate::{
    args::{Global, Output},
    controller::stopped,
    failure::{Failure, Kind},
    show::{self, Row, Screen},
    world::World,
};

/// How often the store is asked whether somebody has written: that reads one number in memory.
const TICK: Duration = Duration::from_millis(200);

/// How often all is read in any case: a process that is killed writes nothing.
const ANYWAY: Duration = Duration::from_secs(5);

/// What Ctrl-C ends with.
const INTERRUPTED: u8 = 130;

/// Shows one line an environment until Ctrl-C, or until nobody reads any more.
pub(crate) async fn watch(
    global: &Global,
    screen: Screen,
    env: Option<&EnvironmentName>,
) -> Result<u8, Failure> {
    let mut view = View::new(screen)?;
    let world = World::open(global)?;
    let stop = stopped()?;
    tokio::pin!(stop);
    let mut look = Look::default();
    loop {
        let version = world.store.version().await?;
        let rows = if look.is_due(version) {
            let rows = rows(&world.store, global, env).await?;
            look.done(version);
            Some(rows)
        } else {
            None
        };
        if !view.show(rows, Timestamp::now())? {
            return Ok(0);
        }
        tokio::select! {
            () = &mut stop => return Ok(INTERRUPTED),
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// What was read last: at which version of the store, and when.
#[derive(Default)]
struct Look(Option<(i64, Instant)>);

impl Look {
    fn is_due(&self, version: i64) -> bool {
        self.0.is_none_or(|(known, at)| known != version || at.elapsed() > ANYWAY)
    }

    fn done(&mut self, version: i64) {
        self.0 = Some((version, Instant::now()));
    }
}

/// Where the table goes.
struct View {
    screen: Screen,
    /// What a terminal redraws; none where each table follows the last one.
    place: Option<ProgressBar>,
    rows: Option<Vec<Row>>,
}

impl View {
    fn new(screen: Screen) -> Result<Self, Failure> {
        let target = ProgressDrawTarget::stdout();
        let place = (screen.output == Output::Text && !target.is_hidden()).then(|| {
            let style = ProgressStyle::with_template("{msg}").expect("the template is valid");
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        match screen.output {
            Output::Text | Output::Json => Ok(Self { screen, place, rows: None }),
            Output::Yaml | Output::Markdown => {
                Err(Failure::new(Kind::User, "this command prints `text` or `json`")
                    .hint("use `-o text` or `-o json`"))
            }
        }
    }

    /// Shows what was read, or that time has passed since; returns whether somebody still reads.
    fn show(&mut self, read: Option<Vec<Row>>, now: Timestamp) -> Result<bool, Failure> {
        let is_news = read.as_ref().is_some_and(|read| !self.tells(read));
        if let Some(read) = read {
            self.rows = Some(read);
        }
        let mut rows = self.rows.clone().unwrap_or_default();
        match &self.place {
            Some(place) => {
                let table = show::status(&mut rows, now);
                let table = match rustix::termios::tcgetwinsize(std::io::stdout()) {
                    Ok(size) => fitted(&table, size.ws_row.into(), size.ws_col.into()),
                    Err(_) => table,
                };
                if place.message() != table {
                    place.set_message(table);
                }
                Ok(true)
            }
            None if !is_news => Ok(true),
            None if self.screen.output == Output::Json => {
                self.screen.print_on(&show::status_json(&mut rows, now).to_string())
            }
            None => self.screen.print_on(&(show::status(&mut rows, now) + "\n\n")),
        }
    }

    fn tells(&self, read: &[Row]) -> bool {
        let same = |known: &Vec<Row>| {
            known.len() == read.len()
                && known.iter().zip(read).all(|(known, read)| known.tells_the_same(read))
        };
        self.rows.as_ref().is_some_and(same)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // What was drawn last stays. It is not drawn again: Ctrl-C has left its mark and moved the cursor.
            place.set_draw_target(ProgressDrawTarget::hidden());
            drop(self.screen.print("\n"));
        }
    }
}

/// Returns what a terminal of so many rows and columns shows of a table, and says how much it leaves out.
fn fitted(table: &str, rows: usize, columns: usize) -> String {
    let tall = |line: &str| line.chars().count().div_ceil(columns.max(1)).max(1);
    if rows == 0 || table.lines().map(tall).sum::<usize>() <= rows {
        return table.to_owned();
    }
    let mut room = rows - 1;
    let fits = |line: &&str| {
        let left = room.checked_sub(tall(line));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let shown: Vec<&str> = table.lines().take_while(fits).collect();
    let more = table.lines().count() - shown.len();
    shown.into_iter().chain([format!("... and {more} more").as_str()]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn what_a_terminal_has_no_room_for_is_counted() {
        let table = "ENVIRONMENT\na\nb\nc";
        assert_eq!(fitted(table, 4, 80), table);
        assert_eq!(fitted(table, 3, 80), "ENVIRONMENT\na\n... and 2 more");
        assert_eq!(fitted(table, 4, 6), "ENVIRONMENT\na\n... and 2 more");
        assert_eq!(fitted(table, 0, 0), table);
    }
}
