//! A line chart as SVG, legible on a light and on a dark page.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
/// The lines' field within the picture: the labels stand around it.
const LEFT: f64 = 50.0;
const RIGHT: f64 = 590.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 280.0;
/// Least distance between two names.
const LINE_HEIGHT: f64 = 16.0;
/// Grid lines, about.
const STEPS: f64 = 5.0;

const STYLE: &str = "\
text { font: 12px sans-serif; fill: #333 }
.grid { stroke: #ccc }
polyline { fill: none; stroke-width: 2 }
.s0 { stroke: #0072b2 } .s1 { stroke: #c44e00 } .s2 { stroke: #007a5a } .s3 { stroke: #a8478a }
.s1, .s3 { stroke-dasharray: 6 3 }
text.s0, text.s1, text.s2, text.s3 { stroke: none }
text.s0 { fill: #0072b2 } text.s1 { fill: #c44e00 } text.s2 { fill: #007a5a } text.s3 { fill: #a8478a }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd }
  .grid { stroke: #555 }
  .s0 { stroke: #56b4e9 } .s1 { stroke: #ff9d4d } .s2 { stroke: #4fd1a5 } .s3 { stroke: #e8a0d0 }
  text.s0 { fill: #56b4e9 } text.s1 { fill: #ff9d4d } text.s2 { fill: #4fd1a5 } text.s3 { fill: #e8a0d0 }
}";

/// One line for each name; its values are drawn over the logarithm of the numbers they belong to.
pub fn draw(unit: &str, lines: &[(&str, Vec<(u32, f64)>)]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let last = points().map(|(number, _)| f64::from(*number)).fold(2.0, f64::max);
    let highest = points().map(|(_, value)| *value).fold(1.0, f64::max);
    let step = step(highest);
    let top = (highest / step).ceil() * step;
    let x = |number: u32| LEFT + (RIGHT - LEFT) * f64::from(number).ln() / last.ln();
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / top;

    let mut body = String::new();
    let mut level = 0.0;
    while level <= top + step / 2.0 {
        body += &grid_line((LEFT, y(level)), (RIGHT, y(level)));
        body += &label(LEFT - 8.0, y(level) + 4.0, "end", "", &format!("{level}"));
        level += step;
    }
    for number in numbers(points()) {
        body += &grid_line((x(number), TOP), (x(number), BOTTOM));
        body += &label(x(number), BOTTOM + 18.0, "middle", "", &number.to_string());
    }
    let title = "CPU time for each message that arrives, as a multiple of the first point's";
    body += &label(LEFT, TOP - 12.0, "start", "", title);
    body += &label((LEFT + RIGHT) / 2.0, BOTTOM + 36.0, "middle", "", unit);

    let ends: Vec<f64> =
        lines.iter().map(|(_, points)| points.last().map_or(BOTTOM, |(_, v)| y(*v))).collect();
    for (place, ((name, points), at)) in lines.iter().zip(apart(&ends)).enumerate() {
        let places = points.iter().fold(String::new(), |list, (number, value)| {
            format!("{list}{:.1},{:.1} ", x(*number), y(*value))
        });
        let _ = writeln!(body, "<polyline class=\"s{place}\" points=\"{}\"/>", places.trim_end());
        body += &label(RIGHT + 8.0, at + 4.0, "start", &format!("s{place}"), name);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\">\n<style>\n{STYLE}\n</style>\n{body}</svg>\n"
    )
}

/// A round distance between grid lines.
fn step(highest: f64) -> f64 {
    let rough = highest / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|round| round * power >= rough);
    // A multiple of a quarter: the levels' names stay short.
    (round.unwrap_or(10.0) * power).max(0.25)
}

fn numbers<'a>(points: impl Iterator<Item = &'a (u32, f64)>) -> Vec<u32> {
    let mut numbers: Vec<u32> = points.map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    // Names of numbers that are nearly the same would cover each other.
    numbers.dedup_by(|next, kept| f64::from(*next) < f64::from(*kept) * 1.2);
    numbers
}

/// Moves names down until none covers another.
fn apart(heights: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = heights.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut least = f64::MIN;
    for (_, height) in &mut order {
        *height = height.max(least);
        least = *height + LINE_HEIGHT;
    }
    order.sort_by_key(|(place, _)| *place);
    order.into_iter().map(|(_, height)| height).collect()
}

fn grid_line((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    format!("<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n")
}

fn label(x: f64, y: f64, anchor: &str, class: &str, text: &str) -> String {
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_at_the_left_and_end_at_their_values() {
        let svg = draw("exporters", &[("UDP", vec![(1, 1.0), (100, 2.0)])]);
        assert!(svg.contains("points=\"50.0,155.0 590.0,30.0\""), "{svg}");
        assert!(svg.contains(">exporters<") && svg.contains(">UDP<"), "{svg}");
    }

    #[test]
    fn names_do_not_cover_each_other() {
        assert_eq!(apart(&[100.0, 95.0, 300.0]), [111.0, 95.0, 300.0]);
    }
}
