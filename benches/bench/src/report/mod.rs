//! The report: a page that needs no other file, made of `report.html`.

mod draw;
mod looks;
mod plots;

use super::baseline::Change;
use super::machine::Machine;
use super::record::{PLAIN, Record};
use super::table::{figure, multiple, ratios, shares};
use benches::implementation::Pass;
use minijinja::{AutoEscape, Environment, Value, context};

/// Everything that a run has to say.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) records: Vec<Record>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
    /// Against an earlier run, where one was named.
    pub(crate) changes: Option<Vec<Change>>,
    pub(crate) interrupted: bool,
    pub(crate) quick: bool,
}

impl Report {
    /// The records of everyone on ordinary data, normalizing alone.
    pub(crate) fn plain(&self) -> &[Record] {
        self.thirds().0
    }

    /// The records of rows with an activation or a mask, which come next.
    pub(crate) fn varied(&self) -> &[Record] {
        self.thirds().1
    }

    /// The records of hard data's rows, which come last.
    pub(crate) fn hard(&self) -> &[Record] {
        self.thirds().2
    }

    fn thirds(&self) -> (&[Record], &[Record], &[Record]) {
        let (ordinary, hard) =
            self.records.split_at(self.records.partition_point(|record| record.against.is_none()));
        let (plain, varied) = ordinary.split_at(ordinary.partition_point(|record| record.variant == PLAIN));
        (plain, varied, hard)
    }

    /// The records of ordinary data by shape and variant.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Record]> {
        let (plain, varied, _) = self.thirds();
        [plain, varied].into_iter().flat_map(|records| records.chunk_by(|a, b| a.problem() == b.problem()))
    }

    /// The records of hard data row by row.
    pub(crate) fn hard_rows(&self) -> impl Iterator<Item = &[Record]> {
        self.hard().chunk_by(|a, b| a.problem() == b.problem())
    }

    /// The picture in README; an empty one where the run has none of its shapes.
    pub(crate) fn picture(&self) -> Result<String, String> {
        let none = "--svg: expected a run of the shapes in README's picture, got none of them";
        plots::picture(self.plain()).ok_or(none)?.map_err(|error| error.to_string())
    }

    /// The page.
    pub(crate) fn html(&self) -> Result<String, String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let template = environment.template_from_str(include_str!("report.html"));
        let page = template.and_then(|template| template.render(self.context()));
        page.map_err(|error| format!("the report: {error}"))
    }

    fn context(&self) -> Value {
        let plots = plots::PLOTS.map(|(id, title, caption, needs, draw)| {
            let svg = draw(self.plain()).and_then(Result::ok);
            context! { id, title, caption, needs, svg }
        });
        let moved = |changes: &Vec<Change>| -> Vec<Value> {
            let marks = changes.iter().filter_map(|change| Some((change, change.mark()?)));
            let row = |(change, mark): (&Change, String)| {
                let (record, noise) =
                    (self.row(&self.records[change.index]), format!("{:.0}", 100.0 * change.noise));
                context! { record, noise, mark }
            };
            marks.map(row).collect()
        };
        let hard = self.hard_rows().map(|row| {
            let cells = Pass::ALL.map(|pass| multiple(row, pass));
            context! { record => self.row(&row[0]), cells, bar => row.iter().find_map(|record| record.bar) }
        });
        let hard: Vec<Value> = hard.collect();
        context! {
            machine => self.machine.lines.clone(),
            date => self.machine.date.clone(),
            quick => self.quick,
            interrupted => self.interrupted,
            notes => self.notes.clone(),
            shapes => self.groups().count(),
            plots,
            passes => Pass::ALL.map(Pass::name),
            shares => shares(self.plain()),
            compared => self.changes.as_ref().map(Vec::len),
            moved => self.changes.as_ref().map(moved),
            ratios => ratios(self.varied()),
            varied_plot => plots::times(self.varied()).and_then(Result::ok),
            hard,
            hard_plot => plots::hard(self.hard()).and_then(Result::ok),
            records => self.records.iter().map(|record| self.row(record)).collect::<Vec<_>>(),
        }
    }

    /// A record as a table shows it.
    fn row(&self, record: &Record) -> Value {
        let errors = [record.error_y, record.error_dx, record.error_y_far, record.error_dx_far];
        context! {
            title => record.title(),
            who => record.who(),
            median => figure(record.median_ns / 1e3),
            least => figure(record.min_ns / 1e3),
            spread => format!("{:.1}", 100.0 * record.spread),
            gbps => format!("{:.1}", record.gbps),
            share => format!("{:.0}", record.share()),
            over_ours => record.over_ours.map_or(String::new(), figure),
            errors => errors.map(|error| error.map_or(String::new(), |error| format!("{error:.3}"))),
            pass => record.pass.clone(),
            dtype => record.dtype.clone(),
            against => record.against.clone().unwrap_or_default(),
            samples => record.samples,
            detail => record.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::baseline::compare;
    use super::super::record::tests::{hard, record};
    use super::*;

    fn report(records: Vec<Record>) -> Report {
        Report { machine: Machine::here(), records, quick: true, ..Report::default() }
    }

    /// Two batches of a shape, everyone with every pass, errors with the steps.
    fn records() -> Vec<Record> {
        let mut records = Vec::new();
        let everyone =
            ["floor 1", "floor 2", "dispatch 1", "rayon+dispatch 2", "graph 1", "torch 1", "torch 2"];
        for (batch, (i, who)) in
            [1, 4].into_iter().flat_map(|b| everyone.iter().enumerate().map(move |w| (b, w)))
        {
            let (name, threads) = who.split_once(' ').unwrap();
            for pass in Pass::ALL {
                let mut r = record(name, threads.parse().unwrap(), pass.name(), 1e5 * (i + batch) as f64);
                (r.shape, r.layout) = (format!("{batch}x64x56x56"), "nchw".into());
                (r.error_y, r.error_dx) = (Some(0.7), Some(12.0));
                (r.error_y_far, r.error_dx_far) = (Some(1.1), Some(1e4));
                records.push(r);
            }
        }
        records
    }

    #[test]
    fn a_report_has_every_plot_and_needs_no_other_file() {
        let page = report(records()).html().unwrap();
        let place = |id: &str| page.find(&format!("<h2 id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}"));
        for id in ["time", "floor", "graph", "threads", "batch", "accuracy"] {
            let section = page[place(id)..].split("</section>").next().unwrap();
            assert!(section.contains("<svg") && !section.contains("No plot"), "{id}: {section}");
            assert!(section.matches("<circle").count() + section.matches("<polygon").count() > 2, "{id}");
            assert!(place("summary") < place(id) && place(id) < place("read"), "{id}: plots come first");
        }
        assert!(place("read") < place("all") && page.contains("torch ×2") && page.contains("compiler"));
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http") && !outside.contains("<script") && !outside.contains("<link"));
        assert!(!page.contains("NaN") && !page.contains(">inf"));
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let page = report(vec![record("floor", 1, "step", 1e5), record("dispatch", 1, "step", 1e5)]).html();
        let page = page.unwrap();
        assert_eq!(page.matches("No plot in this run. It needs:").count(), 4);
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(report(vec![]).html().unwrap().matches("No plot in this run").count(), 6);
    }

    #[test]
    fn changes_notes_and_interruptions_are_told() {
        let mut report = report(records());
        let mut earlier = report.records[6..8].to_vec();
        (earlier[0].median_ns, earlier[0].min_ns) = (1.0, 1.0);
        report.changes = Some(compare(&earlier, &report.records));
        report.notes = vec!["torch: expected <a> package".into()];
        report.interrupted = true;
        let page = report.html().unwrap();
        assert!(page.contains("<li>torch: expected &lt;a&gt; package</li>"));
        assert!(page.contains("2 measurements compared, 1 moved") && page.contains("x slower</td>"));
        assert!(page.contains("The run was interrupted"));
        assert!(report.picture().unwrap_err().contains("README's picture"));
        report.records.iter_mut().for_each(|r| r.name = "stem".into());
        assert!(report.picture().unwrap().contains("PyTorch&apos;s fastest"));
    }

    #[test]
    fn rows_with_a_variant_stand_between_the_plots_and_hard_data() {
        let mut varied = records();
        varied.iter_mut().for_each(|r| r.variant = "relu".into());
        varied.iter_mut().filter(|r| r.implementation == "torch").for_each(|r| r.over_ours = Some(4.5));
        let plain = report(records()).html().unwrap();
        assert!(!plain.contains("id=\"varied\""));
        let hard = vec![hard("dy_nan", "forward", 1.02, Some(4.0))];
        let report = report([records(), varied, hard].concat());
        assert_eq!((report.plain().len(), report.varied().len(), report.hard().len()), (42, 42, 1));
        assert_eq!(report.groups().count(), 4);
        let page = report.html().unwrap();
        let section = page.split("<h2 id=\"varied\">").nth(1).unwrap().split("</section>").next().unwrap();
        assert!(section.contains("<svg") && section.contains("<td>torch ×2</td>"), "{section}");
        assert!(section.contains("<td>4.50</td>") && page.contains("1x64x56x56 relu"), "{section}");
        let summary =
            |page: &str| page.split("</section>").next().unwrap().split("<table>").nth(1).map(String::from);
        assert_eq!(summary(&page), summary(&plain), "shares are those of plain rows");
    }

    #[test]
    fn rows_of_hard_data_stand_in_a_section_of_their_own() {
        let mut half = hard("", "step", 0.65, Some(0.7));
        (half.variant, half.dtype, half.against) = ("plain".into(), "f16".into(), Some("f32".into()));
        let mut other = hard("weight_1e-33", "backward", 3.0, Some(4.0));
        other.shape = "8x9".into();
        let rows = [hard("dy_nan", "forward", 1.02, Some(4.0)), hard("dy_nan", "backward", 27.04, Some(4.0))];
        let mut report = report([records(), rows.into(), vec![other, half]].concat());
        assert_eq!((report.hard().len(), report.hard_rows().count(), report.groups().count()), (4, 3, 2));
        let page = report.html().unwrap();
        let section = page.split("<h2 id=\"hard\">").nth(1).unwrap().split("</section>").next().unwrap();
        assert!(
            section.contains("<td>1.02 (1.02)</td>") && section.contains("<strong>27.0 (27.0)</strong>"),
            "{section}"
        );
        assert!(section.contains("<td>0.65 (0.65)</td><td>0.7</td>"), "{section}");
        assert!(section.contains("<svg") && page.contains("href=\"#hard\""));
        report.records.truncate(42);
        assert!(!report.html().unwrap().contains("id=\"hard\""));
    }
}
