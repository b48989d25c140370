//! How much a repository may ask of the reader.
//!
//! Every bound is checked before the memory for what it bounds is taken, so that a hostile file costs
//! no more than its limit.

/// The bounds of reading manifests and of computing values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of one manifest. Default: 1 MiB.
    pub manifest_bytes: u64,
    /// The manifests of one repository. Default: 20,000.
    pub manifests: usize,
    /// The bytes of all manifests together. Default: 64 MiB.
    pub total_bytes: u64,
    /// The keys and values of one manifest, those that aliases repeat included. Default: 50,000.
    pub nodes: usize,
    /// How deep maps and lists may lie in each other. Default: 32.
    pub depth: usize,
    /// How many aliases (`*name`, `<<`) one manifest may expand. Default: 1,000.
    pub aliases: usize,
    /// The problems of one file that are reported. Default: 50.
    pub problems: usize,
    /// The bytes of one file with plain objects. Default: 4 MiB, what a cluster takes of one object with room to spare.
    pub object_bytes: u64,
    /// The bytes of one file that is delivered, before and after it is computed. Default: 1 MiB.
    pub file_bytes: u64,
    /// The bytes of all files that are delivered to one environment. Default: 64 MiB.
    pub delivered_bytes: u64,
    /// The instructions that computing one value or one file may take. Default: 200,000.
    pub fuel: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 1 << 20,
            manifests: 20_000,
            total_bytes: 64 << 20,
            nodes: 50_000,
            depth: 32,
            aliases: 1_000,
            problems: 50,
            object_bytes: 4 << 20,
            file_bytes: 1 << 20,
            delivered_bytes: 64 << 20,
            fuel: 200_000,
        }
    }
}
