//! What is done to objects, as lists that are complete by construction.

/// Something that is done to an object, as one step.
pub trait Effect: Copy + Send {
    /// Kind of the object that it is done to.
    const KIND: &'static str;

    /// Its name, in one word.
    fn name(self) -> &'static str;

    /// The effect in words, for messages and logs.
    fn describe(self) -> &'static str;
}

/// Defines an enum of effects with a list of all of them and their words: a variant cannot be added without being in the list.
macro_rules! effects {
    (
        $(#[$meta:meta])*
        pub enum $name:ident of $kind:literal {
            $($(#[$doc:meta])* $variant:ident $(($type:ty = $example:expr))? => $words:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant $(($type))?,)+
        }

        impl $name {
            /// Every effect, with examples of what they carry.
            pub const ALL: &[Self] = &[$(Self::$variant $(($example))?),+];
        }

        impl $crate::effect::Effect for $name {
            const KIND: &'static str = $kind;

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)+
                }
            }

            fn describe(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $words,)+
                }
            }
        }
    };
}

pub(crate) use effects;

/// Kind and name of every effect that the operator has.
pub fn all() -> Vec<(&'static str, &'static str)> {
    let mut all = names(crate::cluster::Effect::ALL);
    all.extend(names(crate::machine::Effect::ALL));
    all.extend(names(crate::pool::Effect::ALL));
    all.extend(names(crate::host::Effect::ALL));
    all.extend(names(crate::release::Effect::ALL));
    all.extend(names(crate::upgrade::Effect::ALL));
    all
}

fn names<E: Effect>(effects: &[E]) -> Vec<(&'static str, &'static str)> {
    effects.iter().map(|effect| (E::KIND, effect.name())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_effects_have_the_same_name() {
        let all = all();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
