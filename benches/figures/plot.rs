//! SVG plots: bars from one value to another, and lines.
//!
//! The colours are those of Okabe and Ito, which most colour-blind people can distinguish; lines also differ
//! in their dashes. The background is white, so that the text is visible on dark pages.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const DASHES: [&str; 6] = ["", "8 4", "2 3", "", "8 4", "2 3"];

/// Ranges of values, relative to an average of 1.
pub(crate) struct Bars<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) bars: Vec<(String, f64, f64)>,
}

pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines of fractions over a number; fractions are shown in percent.
pub(crate) struct Lines<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) lines: Vec<Line>,
}

impl Bars<'_> {
    pub(crate) fn svg(&self) -> String {
        const LEFT: f64 = 190.0;
        const RIGHT: f64 = WIDTH - 60.0;
        const ROW: f64 = 38.0;
        let (top, bottom) = (50.0, 50.0 + ROW * self.bars.len() as f64);
        let most = self.bars.iter().map(|&(_, _, most)| most).fold(1.0, f64::max);
        let (step, end) = ticks(most);
        let x = |value: f64| LEFT + value / end * (RIGHT - LEFT);
        let mut svg = Svg::new(self.title, bottom + 60.0);
        for tick in steps(step, end) {
            svg.line((x(tick), top), (x(tick), bottom), grid(tick == 1.0));
            svg.text((x(tick), bottom + 18.0), "middle", &percent(tick, step));
        }
        for (row, (label, least, most)) in self.bars.iter().enumerate() {
            let middle = top + ROW * (row as f64 + 0.5);
            let (from, to) = (x(*least), x(*most));
            // A bar thinner than a line is shown as a line.
            let width = (to - from).max(2.0);
            let color = COLORS[row % 3];
            svg.add(&format!(
                r#"<rect x="{from:.1}" y="{:.1}" width="{width:.1}" height="16" fill="{color}"/>"#,
                middle - 8.0
            ));
            svg.text((LEFT - 10.0, middle + 4.0), "end", label);
            svg.text((from - 6.0, middle + 4.0), "end", &format!("{:.1}", 100.0 * least));
            svg.text(
                (to.max(from + 2.0) + 6.0, middle + 4.0),
                "start",
                &format!("{:.1}", 100.0 * most),
            );
        }
        svg.text(((LEFT + RIGHT) / 2.0, bottom + 42.0), "middle", self.x);
        svg.end()
    }
}

impl Lines<'_> {
    pub(crate) fn svg(&self) -> String {
        const LEFT: f64 = 80.0;
        const RIGHT: f64 = WIDTH - 230.0;
        const TOP: f64 = 50.0;
        const BOTTOM: f64 = 390.0;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (x_step, x_end) = ticks(points().map(|point| point.0).fold(0.0, f64::max));
        let (y_step, y_end) = ticks(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| LEFT + value / x_end * (RIGHT - LEFT);
        let y = |value: f64| BOTTOM - value / y_end * (BOTTOM - TOP);
        let mut svg = Svg::new(self.title, BOTTOM + 60.0);
        for tick in steps(x_step, x_end) {
            svg.line((x(tick), TOP), (x(tick), BOTTOM), grid(tick == 0.0));
            svg.text((x(tick), BOTTOM + 18.0), "middle", &format!("{tick}"));
        }
        for tick in steps(y_step, y_end) {
            svg.line((LEFT, y(tick)), (RIGHT, y(tick)), grid(tick == 0.0));
            svg.text((LEFT - 8.0, y(tick) + 4.0), "end", &percent(tick, y_step));
        }
        // The legend is in the order in which the lines end.
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        let end = |&at: &usize| self.lines[at].points.last().map_or(0.0, |point| point.1);
        order.sort_by(|a, b| end(b).total_cmp(&end(a)));
        for (row, at) in order.into_iter().enumerate() {
            let line = &self.lines[at];
            let style = format!(
                r#"stroke="{}" stroke-width="2" fill="none" stroke-dasharray="{}""#,
                COLORS[at], DASHES[at]
            );
            let places: Vec<String> =
                line.points.iter().map(|&(px, py)| format!("{:.1},{:.1}", x(px), y(py))).collect();
            svg.add(&format!(r#"<polyline points="{}" {style}/>"#, places.join(" ")));
            for &(px, py) in &line.points {
                let (cx, cy, color) = (x(px), y(py), COLORS[at]);
                svg.add(&format!(r#"<circle cx="{cx:.1}" cy="{cy:.1}" r="2.5" fill="{color}"/>"#));
            }
            let middle = TOP + 10.0 + 24.0 * row as f64;
            svg.line((RIGHT + 16.0, middle), (RIGHT + 46.0, middle), &style);
            svg.text((RIGHT + 54.0, middle + 4.0), "start", &line.label);
        }
        svg.text(((LEFT + RIGHT) / 2.0, BOTTOM + 42.0), "middle", self.x);
        let middle = (TOP + BOTTOM) / 2.0;
        svg.add(&format!(
            r#"<text transform="translate(20 {middle}) rotate(-90)" text-anchor="middle">{}</text>"#,
            self.y
        ));
        svg.end()
    }
}

/// A round step of which four to ten reach `most`, and the end of the last step.
fn ticks(most: f64) -> (f64, f64) {
    let power = 10f64.powf((most / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| most / step <= 8.0);
    let step = step.unwrap_or(10.0 * power);
    (step, (most / step).ceil() * step)
}

fn steps(step: f64, end: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |n| f64::from(n) * step).take_while(move |tick| *tick < end + step / 2.0)
}

fn percent(part: f64, step: f64) -> String {
    if step < 0.01 { format!("{:.1} %", 100.0 * part) } else { format!("{:.0} %", 100.0 * part) }
}

fn grid(strong: bool) -> &'static str {
    if strong { r##"stroke="#444""## } else { r##"stroke="#ddd""## }
}

struct Svg(String);

impl Svg {
    fn new(title: &str, height: f64) -> Svg {
        let mut svg = Svg(format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" fill="#222">
<title>{title}</title>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="{:.1}" y="28" text-anchor="middle" font-size="16" font-weight="bold">{title}</text>
"##,
            WIDTH / 2.0
        ));
        svg.0.reserve(1 << 14);
        svg
    }

    fn add(&mut self, element: &str) {
        writeln!(self.0, "{element}").expect("a string");
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(&format!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#
        ));
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        self.add(&format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#));
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}
