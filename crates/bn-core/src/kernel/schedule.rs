//! What changes the speed of a step and no bit of it, as one value.
//!
//! A kernel that ignores all of it is right. Which schedule a step gets is the driver's affair (`driver/schedule`).

/// A cache that something is brought into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cache {
    /// The first one.
    L1,
    /// The second one: what is on its way there occupies none of the few buffers of L1.
    L2,
}

/// How far ahead memory is asked for, in the order in which it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ahead {
    /// So many bytes, over all inputs; 0 for nothing that is not read anyway.
    pub bytes: usize,
    /// Where it is brought.
    pub into: Cache,
}

impl Ahead {
    /// Nothing.
    pub const NONE: Self = Self { bytes: 0, into: Cache::L1 };

    /// As elements of T, of each of so many inputs.
    #[inline(always)]
    #[must_use]
    pub const fn elements<T>(self, inputs: usize) -> usize {
        self.bytes / size_of::<T>() / inputs
    }
}

/// In which order sums down the strips ask for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Down {
    /// Of every strip the columns that come next, into L1.
    Across,
    /// These, and of the strips that come next those that are read now, into L2.
    Far,
    /// These, and the columns behind the tile, into L2: the next block.
    Behind,
    /// All memory in the order in which it lies, where strips lie one behind the other; else the next columns.
    Along,
}

/// What is brought into the caches while a tile is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// By sums along runs.
    pub ahead: Ahead,
    /// By sums down the strips.
    pub down: Down,
}

impl Fetch {
    /// For tiles that are in a cache.
    pub const NEAR: Self = Self { ahead: Ahead::NONE, down: Down::Across };
}

/// A map and the sums of the next block in turns: a map of runs writes while it waits for what the sums read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Turns {
    /// What is fetched of what is summed.
    pub summed: Ahead,
    /// What is fetched of what is mapped.
    pub mapped: Ahead,
}

/// Who brings the next block into L2 while this one is in work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Nobody.
    Nobody,
    /// The sums of this one, which go down the strips: the next block is what comes behind their columns.
    Sums,
    /// The map of this one.
    Map,
    /// The map, half of it: every other pair of lines. A map waits for memory anyway, and the sums that come next compute, so
    /// that they can wait for the other half.
    MapHalf,
}

/// From which size on a step is shared out, and how finely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// Elements of a tensor, where the other threads may be awake.
    pub awake: usize,
    /// The same where they must be woken.
    pub asleep: usize,
    /// Jobs made ready per thread, so that an uneven machine can balance them.
    pub jobs: usize,
    /// Where there are few features, sums are shared out until they and the shares of each are so many jobs. Values side by
    /// side are counted as groups of `group` features.
    pub sums: usize,
    /// See `sums`.
    pub group: usize,
    /// The fewest elements of a share.
    pub least: usize,
}

/// Every choice that changes no bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// What a block of features may occupy, in bytes of an input as it is computed. A block is summed and then mapped, so it
    /// had better still be in a cache. Of one value per feature and strip a block is as wide as the lanes allow.
    pub block_bytes: usize,
    /// Whether map and sums take turns, where the kernels can.
    pub turns: Option<Turns>,
    /// Outputs of more bytes are written past the caches; what is smaller the next layer finds there.
    pub stream_above: usize,
    /// What sums along runs fetch.
    pub sums: Ahead,
    /// In which order sums down the strips ask for memory.
    pub down: Down,
    /// Who fetches the next block.
    pub next: Next,
    /// Whether maps fetch each input's next strip, where they fetch nothing of the next block.
    pub behind: bool,
    /// Blocks are mapped from their end in pieces of so many bytes, where the sums have just been; 0 for from the beginning.
    pub from_end: usize,
    /// How work is shared out among threads.
    pub share: Share,
}
