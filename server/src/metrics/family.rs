//! Counters that differ in their labels.

use std::marker::PhantomData;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The values of some labels, all known beforehand, so that each series is there from the start, at zero.
pub trait Label: Copy + PartialEq + 'static {
    /// The names of the labels.
    const NAMES: &'static [&'static str];
    /// All that can be counted.
    const ALL: &'static [Self];

    /// The values, one for each name.
    fn values(self) -> &'static [&'static str];
}

/// One counter for each of [`Label::ALL`].
pub struct Family<L> {
    counters: Vec<IntCounter>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Family<L> {
    /// A family of this name, which no other may have.
    pub(super) fn register(registry: &Registry, name: &str, help: &str) -> Self {
        let family =
            IntCounterVec::new(Opts::new(name, help), L::NAMES).expect("the name and labels are valid");
        let counters = L::ALL.iter().map(|label| family.with_label_values(label.values())).collect();
        registry.register(Box::new(family)).expect("no two metrics have one name");
        Self { counters, label: PhantomData }
    }

    /// One more of these.
    pub fn count(&self, label: L) {
        self.add(label, 1);
    }

    /// So many more of these.
    pub fn add(&self, label: L, by: usize) {
        let index = L::ALL.iter().position(|one| *one == label).expect("every label is one of all");
        self.counters[index].inc_by(by as u64);
    }
}

/// An enumeration whose variants are the values of labels.
macro_rules! labels {
    ($($(#[$doc:meta])* $label:ident($($name:literal),+) {
        $($(#[$what:meta])* $variant:ident = [$($value:literal),+],)+
    })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $label {
            $($(#[$what])* $variant,)+
        }

        impl $crate::metrics::Label for $label {
            const NAMES: &'static [&'static str] = &[$($name),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn values(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($value),+],)+
                }
            }
        }
    )+};
}
pub(super) use labels;
