//! Bugs that can be planted into the operator on purpose, to show that the simulation finds them.
//!
//! [`planted!`] stands at the place of each bug and is `false`, at compile time, unless the feature `plantable` is on; with it, a
//! thread of a test can plant one bug at a time. The feature is refused in release builds.

#[cfg(all(feature = "plantable", not(debug_assertions)))]
compile_error!("planted bugs are never part of a release build: build without the feature `plantable`");

/// Defines the bugs with a list of all of them.
macro_rules! bugs {
    ($($(#[$doc:meta])+ $bug:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])+ $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug),+];
        }
    };
}

bugs! {
    /// A host that does not answer is taken for one on which the machine is not.
    UnknownIsAbsent,
    /// Whose a domain is by its metadata is not looked at before it is changed.
    SkipUidCheck,
    /// A domain without Seedbed's metadata is taken for the machine of its name.
    AdoptUnowned,
    /// The job is started before it is written down that it will be.
    JobBeforeWriteAhead,
    /// A job's token changes with its machine's version, so that the job is started again.
    TokenOfVersion,
    /// A status is written over whatever is there by now.
    ForgetVersionOfStatus,
    /// Allocations are written over whatever is there by now.
    ForgetVersionOfAllocations,
    /// What failed is not tried again.
    NoRequeueAfterFailure,
    /// Volumes are deleted while the domain is there.
    VolumesBeforeDomain,
    /// The address is released while the domain is there.
    AddressBeforeDomain,
    /// A machine that is being deleted is not counted as one that takes up room.
    IgnoreDeleting,
    /// The cluster's object is let go while its network is there.
    FinalizerBeforeNetwork,
    /// Conditions get the present time in every pass.
    RestampConditions,
    /// What is put into a guest is logged.
    LogSecret,
    /// A field of the spec is written along with the finalizer.
    WriteSpec,
    /// The join token is left in the cluster.
    KeepToken,
    /// A node is removed with the pods that are on it.
    SkipDrain,
}

/// Whether this bug is planted.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::is_planted($crate::Bug::$bug)
    };
}

#[cfg(not(feature = "plantable"))]
mod none {
    use super::Bug;

    /// None is planted.
    pub const fn is_planted(_: Bug) -> bool {
        false
    }

    const _: () = {
        let mut index = 0;
        while index < Bug::ALL.len() {
            assert!(!is_planted(Bug::ALL[index]));
            index += 1;
        }
    };
}

#[cfg(feature = "plantable")]
mod some {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether it is planted in this thread.
    pub fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// A bug that is planted in this thread until this is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Planted(());

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }

    /// Plants the bug in this thread, instead of another one.
    pub fn plant(bug: Bug) -> Planted {
        PLANTED.set(Some(bug));
        Planted(())
    }
}

#[cfg(not(feature = "plantable"))]
pub use none::is_planted;
#[cfg(feature = "plantable")]
pub use some::{Planted, is_planted, plant};
