//! The plot of docs/scale.md: what one cluster costs, by how many there are.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 30.0;

/// What a panel shows: its heading, and its value in a measurement.
type Panel = (&'static str, fn(&Value) -> f64);

const PANELS: [Panel; 4] = [
    ("seconds until all are Ready, per cluster", |m| {
        m["seconds_to_ready"].as_f64().unwrap_or_default() / clusters(m)
    }),
    ("operator: processor milliseconds per cluster", |m| {
        m["cpu_seconds"].as_f64().unwrap_or_default() * 1000.0 / clusters(m)
    }),
    ("API requests per cluster", |m| {
        let verbs = m["requests"].as_object();
        verbs.map_or(0.0, |verbs| verbs.values().filter_map(Value::as_f64).sum::<f64>()) / clusters(m)
    }),
    ("API writes per cluster", |m| {
        m["writes_per_cluster"].as_f64().unwrap_or_default()
    }),
];

fn clusters(measurement: &Value) -> f64 {
    measurement["clusters"].as_f64().unwrap_or(1.0)
}

/// Draws the measurements without workers that are in the folder.
pub fn draw(folder: &Path, to: &Path) {
    let mut measurements: Vec<Value> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with("x0.json"))
        .map(|entry| serde_json::from_str(&fs::read_to_string(entry.path()).unwrap()).unwrap())
        .collect();
    measurements.sort_by(|a, b| clusters(a).total_cmp(&clusters(b)));
    let height = PANELS.len() as f64 * PANEL + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, panel) in PANELS.iter().enumerate() {
        draw_panel(&mut svg, number as f64 * PANEL, panel, &measurements);
    }
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">clusters (logarithmic)</text>\n</svg>",
        WIDTH / 2.0,
        height - 8.0
    )
    .unwrap();
    fs::write(to, svg).unwrap();
}

fn draw_panel(svg: &mut String, top: f64, (heading, value): &Panel, measurements: &[Value]) {
    let (first, last) = (
        measurements.first().map_or(1.0, clusters).ln(),
        measurements.last().map_or(10.0, clusters).ln(),
    );
    let most = measurements.iter().map(value).fold(f64::MIN_POSITIVE, f64::max) * 1.15;
    let (floor, room) = (top + PANEL - 28.0, PANEL - 56.0);
    let x = |m: &Value| LEFT + (clusters(m).ln() - first) / (last - first).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let y = |m: &Value| floor - value(m) / most * room;
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{heading}</text>",
        top + 18.0
    )
    .unwrap();
    writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{}\" y2=\"{floor}\" stroke=\"#999\"/>",
        WIDTH - RIGHT
    )
    .unwrap();
    let points: Vec<String> = measurements
        .iter()
        .map(|m| format!("{:.1},{:.1}", x(m), y(m)))
        .collect();
    writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"2\"/>",
        points.join(" ")
    )
    .unwrap();
    for m in measurements {
        let (x, y) = (x(m), y(m));
        let found = value(m);
        let shown = if found < 10.0 {
            format!("{found:.2}")
        } else {
            format!("{found:.0}")
        };
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f77b4\"/>"
        )
        .unwrap();
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{shown}</text>",
            y - 7.0
        )
        .unwrap();
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            floor + 15.0,
            clusters(m)
        )
        .unwrap();
    }
}
