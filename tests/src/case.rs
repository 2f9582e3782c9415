//! One case of a test program.

use std::pin::Pin;

use kube::Client;

use crate::{Objects, TestSeed};

type Body = Box<dyn FnOnce(Cases) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A name and what is to hold.
pub struct Case {
    pub(crate) name: String,
    pub(crate) ignored: bool,
    pub(crate) body: Body,
}

impl Case {
    /// A case of that name.
    pub fn new<F>(name: impl Into<String>, body: impl FnOnce(Cases) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self {
            name: name.into(),
            ignored: false,
            body: Box::new(|given| Box::pin(body(given))),
        }
    }

    /// The case, which is listed as ignored unless it is wanted.
    #[must_use]
    pub fn only_if(mut self, wanted: bool) -> Self {
        self.ignored = !wanted;
        self
    }
}

/// What a case is given: the program's seed, and a client in its network namespace.
#[derive(Clone)]
pub struct Cases {
    /// The seed of this test program.
    pub seed: &'static TestSeed,
    /// Its API, as its administrator.
    pub client: Client,
}

impl Cases {
    /// Objects in a namespace of this case's own, which is made.
    pub async fn namespace(&self, name: &str) -> Objects {
        let objects = Objects::new(self.client.clone(), name);
        objects.ensure_namespace().await;
        objects
    }
}
