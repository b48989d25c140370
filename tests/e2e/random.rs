//! Random choices that can be made again: the seed is printed.

/// Prints a line that belongs to the test's record, such as its seed.
#[expect(clippy::print_stdout, reason = "a seed that nobody sees cannot be used again")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// A small generator (xorshift64*), good enough to draw samples.
pub(crate) struct Random(u64);

impl Random {
    /// Seeds from `TRUEUP_SEED`, else from the clock, and says which seed it was.
    pub(crate) fn printed(what: &str) -> Self {
        let given = std::env::var("TRUEUP_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
        let seed: u64 = given.unwrap_or_else(now);
        say(&format!("{what}: TRUEUP_SEED={seed}"));
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Draws a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    /// Draws at most `count` of `all`, each once, in their own order.
    pub(crate) fn sample<T>(&mut self, mut all: Vec<T>, count: usize) -> Vec<T> {
        while all.len() > count {
            all.remove(self.below(all.len()));
        }
        all
    }
}
