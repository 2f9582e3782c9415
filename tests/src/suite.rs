//! A test program: its cases, one seed for them, and what becomes of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

use crate::{Case, Cases, SeedOptions, TestSeed};

/// The checkout that the tests were built in.
pub fn root_of_checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A test program.
pub struct Suite {
    /// Begins the name of its instance.
    pub name: &'static str,
    /// What its seed is made of.
    pub options: SeedOptions,
    /// How many cases run at the same time.
    pub threads: usize,
    /// The cases, in their order where one runs at a time.
    pub cases: Vec<Case>,
}

static SEED: OnceLock<TestSeed> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

fn seed(name: &'static str, options: SeedOptions) -> &'static TestSeed {
    // A seed that did not start is tried anew by the next case, and fails it with its own words.
    let _one = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    SEED.get_or_init(|| TestSeed::start(name, options))
}

impl Suite {
    /// Runs the cases that the command line asks for, takes the seed down and tells how it went.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(self.threads);
        let (name, options) = (self.name, self.options);
        let trials = self.cases.into_iter().map(|case| {
            Trial::test(case.name, move || {
                let seed = seed(name, options);
                seed.in_its_network(case.body).map_err(Failed::from)
            })
            .with_ignored_flag(case.ignored)
        });
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        let taken_down = SEED.get().is_none_or(|seed| take_down(seed, name, &conclusion));
        if conclusion.has_failed() || !taken_down {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// Keeps the logs of a seed whose cases failed, and removes the seed.
fn take_down(seed: &TestSeed, name: &str, conclusion: &Conclusion) -> bool {
    if conclusion.has_failed() {
        let kept: PathBuf = seed.programs.target.join("test-logs").join(name);
        crate::seed::keep_logs(seed.instance(), &kept);
        println!("the seed's logs are kept in {}", kept.display());
    }
    match seed.stop() {
        Ok(()) => true,
        Err(error) => {
            println!("the seed could not be taken down: {error}");
            false
        }
    }
}

impl TestSeed {
    /// Runs a case in a thread of its own that is in the seed's network namespace.
    fn in_its_network<F>(&'static self, body: F) -> Result<(), String>
    where
        F: FnOnce(Cases) -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send + 'static,
    {
        let thread = std::thread::spawn(move || {
            self.enter_network();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let client = self.client().await;
                body(Cases { seed: self, client }).await;
            });
        });
        thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()))
                .unwrap_or_default()
        })
    }
}
