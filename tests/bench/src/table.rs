//! Figures beside their limits, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::percentile::median;

/// Columns of the table.
const COLUMNS: usize = 8;

/// What is wanted of figure / limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    /// At least this.
    Least(f64),
    /// At most this.
    Most(f64),
    /// Nothing: it is only shown.
    Nothing,
}

impl Wanted {
    fn text(self) -> String {
        match self {
            Self::Least(ratio) => format!("≥ {ratio:.2}"),
            Self::Most(ratio) => format!("≤ {ratio:.2}"),
            Self::Nothing => "–".to_owned(),
        }
    }

    fn is_met(self, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::Least(least) => ratio.map(|ratio| ratio >= least),
            Self::Most(most) => ratio.map(|ratio| ratio <= most),
            Self::Nothing => None,
        }
    }
}

/// One figure and what it is measured against.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    /// Of every round.
    figures: Vec<f64>,
    /// What limits it, and its figures.
    limit: Option<(String, Vec<f64>)>,
    wanted: Wanted,
    /// More figures, for JSON only.
    details: Value,
}

impl Row {
    /// A figure without a limit.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, figures: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            figures,
            limit: None,
            wanted: Wanted::Nothing,
            details: Value::Null,
        }
    }

    /// Puts a limit beside it.
    pub(crate) fn beside(
        mut self,
        limit: impl Into<String>,
        figures: Vec<f64>,
        wanted: Wanted,
    ) -> Self {
        self.limit = Some((limit.into(), figures));
        self.wanted = wanted;
        self
    }

    /// Puts a figure beside it that it must not exceed.
    pub(crate) fn at_most(self, figure: f64) -> Self {
        self.beside("wanted", vec![figure], Wanted::Most(1.0))
    }

    /// Adds figures that only JSON shows.
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Median of the rounds through median of the limit's.
    fn ratio(&self) -> Option<f64> {
        let (_, limit) = self.limit.as_ref()?;
        let limit = median(limit).filter(|limit| *limit > 0.0)?;
        Some(median(&self.figures)? / limit)
    }

    /// Everything that is known.
    pub(crate) fn json(&self) -> Value {
        let limit = self.limit.as_ref();
        json!({
            "name": self.name,
            "unit": self.unit,
            "figure": median(&self.figures),
            "rounds": self.figures,
            "limit": limit.map(|(name, _)| name),
            "limit_figure": limit.and_then(|(_, figures)| median(figures)),
            "limit_rounds": limit.map(|(_, figures)| figures),
            "ratio": self.ratio(),
            "wanted": self.wanted.text(),
            "met": self.wanted.is_met(self.ratio()),
            "details": self.details,
        })
    }
}

/// All rows as a table in Markdown.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut cells = vec![
        ["work", "median (range)", "unit", "limit", "its median (range)", "ratio", "wanted", "met"]
            .map(str::to_owned),
    ];
    cells.extend(rows.iter().map(line));
    let width = |column: usize| {
        cells.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..COLUMNS).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for (number, line) in cells.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{:-<1$}", "", width + 2);
            }
            text.push_str("|\n");
        }
    }
    text
}

fn line(row: &Row) -> [String; COLUMNS] {
    let none = || "–".to_owned();
    let met = match row.wanted.is_met(row.ratio()) {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => none(),
    };
    [
        row.name.clone(),
        summary(&row.figures),
        row.unit.to_owned(),
        row.limit.as_ref().map_or_else(none, |(name, _)| name.clone()),
        row.limit.as_ref().map_or_else(none, |(_, figures)| summary(figures)),
        row.ratio().map_or_else(none, |ratio| format!("{ratio:.2}")),
        row.wanted.text(),
        met,
    ]
}

/// Median, and least and greatest of several.
fn summary(figures: &[f64]) -> String {
    let Some(median) = median(figures).map(shown) else { return "–".to_owned() };
    if figures.len() == 1 {
        return median;
    }
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{median} ({} – {})", shown(least), shown(most))
}

/// A figure with as many digits as say something.
fn shown(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_medians_their_ratio_and_whether_it_is_enough() {
        let row = Row::new("PUT", "/s", vec![100.0, 300.0, 200.0]);
        let row = row.beside("bare", vec![400.0], Wanted::Least(0.5));
        let expected = "\
| work | median (range)  | unit | limit | its median (range) | ratio | wanted | met |
|------|-----------------|------|-------|--------------------|-------|--------|-----|
| PUT  | 200 (100 – 300) | /s   | bare  | 400                | 0.50  | ≥ 0.50 | yes |
";
        assert_eq!(text(std::slice::from_ref(&row)), expected);
        let json = row.json();
        assert_eq!((&json["figure"], &json["ratio"]), (&json!(200.0), &json!(0.5)));
        assert_eq!((&json["met"], &json["limit"]), (&json!(true), &json!("bare")));
    }

    #[test]
    fn what_is_too_much_or_has_no_limit_is_told_so() {
        let row = Row::new("CPU", "µs", vec![151.0]).at_most(150.0);
        assert_eq!(row.json()["met"], json!(false));
        assert!(text(&[row]).contains("| 1.01  | ≤ 1.00 | no  |"));
        let alone = Row::new("seal", "MiB/s", vec![1.0]);
        assert_eq!(alone.json()["met"], Value::Null);
        let unknown = alone.beside("nothing", vec![0.0], Wanted::Least(1.0));
        assert_eq!(unknown.json()["met"], Value::Null);
    }

    #[test]
    fn figures_have_the_digits_that_matter() {
        assert_eq!([shown(1234.56), shown(12.345), shown(1.2345)], ["1235", "12.3", "1.23"]);
    }
}
