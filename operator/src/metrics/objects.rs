//! Gauges whose series come and go with objects.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use prometheus::{GaugeVec, Opts, Registry};

/// A gauge of which each object has a set of series.
#[derive(Debug)]
pub(super) struct ObjectGauge {
    gauge: GaugeVec,
    series: Mutex<HashMap<Vec<String>, HashSet<Vec<String>>>>,
}

impl ObjectGauge {
    /// A gauge whose first labels name the object and whose `rest` tells its series apart.
    pub(super) fn new(
        registry: &Registry,
        name: &str,
        help: &str,
        object: &[&str],
        rest: &[&str],
    ) -> Result<Self, prometheus::Error> {
        let gauge = GaugeVec::new(Opts::new(name, help), &[object, rest].concat())?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self {
            gauge,
            series: Mutex::default(),
        })
    }

    /// Gives the object these series (the labels of `rest`, and the value) and no others.
    pub(super) fn replace(&self, object: &[String], series: impl IntoIterator<Item = (Vec<String>, f64)>) {
        let mut known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = HashSet::new();
        for (rest, value) in series {
            if let Ok(gauge) = self.gauge.get_metric_with_label_values(&labels(object, &rest)) {
                gauge.set(value);
                now.insert(rest);
            }
        }
        let before = known.remove(object).unwrap_or_default();
        for rest in before.difference(&now) {
            // It was there: it can be removed.
            let _ = self.gauge.remove_label_values(&labels(object, rest));
        }
        if !now.is_empty() {
            known.insert(object.to_vec(), now);
        }
    }
}

fn labels<'a>(object: &'a [String], rest: &'a [String]) -> Vec<&'a str> {
    object.iter().chain(rest).map(String::as_str).collect()
}
