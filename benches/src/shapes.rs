//! Lists of shapes: text files of one `NAME LAYOUT DIMS` per line, as `stem NCHW 32x64x112x112`.
//!
//! A name is unique in its file; LAYOUT is one of NC, NCL, NLC, NCHW, NHWC, NCDHW, NDHWC; DIMS are the dimensions
//! in the layout's order, joined by `x`. Empty lines are skipped, and so is what follows a `#`.

use bn_core::{Layout, Shape};
use std::path::{Path, PathBuf};

/// The layouts by name: number of dimensions, place of the features.
const LAYOUTS: [(&str, usize, Layout); 7] = [
    ("NC", 2, Layout::ChannelsFirst),
    ("NCL", 3, Layout::ChannelsFirst),
    ("NLC", 3, Layout::ChannelsLast),
    ("NCHW", 4, Layout::ChannelsFirst),
    ("NHWC", 4, Layout::ChannelsLast),
    ("NCDHW", 5, Layout::ChannelsFirst),
    ("NDHWC", 5, Layout::ChannelsLast),
];

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What reports call the shape.
    pub name: String,
    /// The layout's name, as `NCHW`.
    pub layout_name: &'static str,
    /// Where the features stand.
    pub layout: Layout,
    /// The dimensions in the layout's order.
    pub dims: Vec<usize>,
    /// The shape as the layer sees it.
    pub shape: Shape,
}

impl Named {
    /// The dimensions as the file writes them: `32x64x112x112`.
    #[must_use]
    pub fn dims_text(&self) -> String {
        joined(&self.dims)
    }

    /// The dimensions in N,C,… order whatever the layout.
    #[must_use]
    pub fn shape_text(&self) -> String {
        let mut dims = self.dims.clone();
        if self.layout == Layout::ChannelsLast {
            dims[1..].rotate_right(1);
        }
        joined(&dims)
    }
}

fn joined(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShapesError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is no shape.
    #[error("line {line}: {what}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What was expected and what came.
        what: String,
    },
    /// There is no shape in the list.
    #[error("expected a line NAME LAYOUT DIMS, got none")]
    Empty,
}

/// Reads the list `shapes/<list>.txt` of this package.
///
/// # Errors
/// [`ShapesError`].
pub fn load(list: &str) -> Result<Vec<Named>, ShapesError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shapes");
    let path = folder.join(list).with_extension("txt");
    let text = std::fs::read_to_string(&path).map_err(|source| ShapesError::Read { path, source })?;
    parse(&text)
}

/// Parses the text of a list.
///
/// # Errors
/// [`ShapesError::Line`] for the first line that is no shape, [`ShapesError::Empty`].
pub fn parse(text: &str) -> Result<Vec<Named>, ShapesError> {
    let mut list: Vec<Named> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        let named = parse_line(line).and_then(|named| match list.iter().any(|n| n.name == named.name) {
            true => Err(format!("expected a name of its own, got {} again", named.name)),
            false => Ok(named),
        });
        list.push(named.map_err(|what| ShapesError::Line { line: i + 1, what })?);
    }
    if list.is_empty() { Err(ShapesError::Empty) } else { Ok(list) }
}

fn parse_line(line: &str) -> Result<Named, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let &[name, layout, dims] = fields.as_slice() else {
        return Err(format!("expected the three fields NAME LAYOUT DIMS, got {}", fields.len()));
    };
    let Some(&(layout_name, rank, layout)) = LAYOUTS.iter().find(|(name, ..)| *name == layout) else {
        let known: Vec<&str> = LAYOUTS.iter().map(|l| l.0).collect();
        return Err(format!("expected a layout of {}, got {layout}", known.join(", ")));
    };
    let dims: Vec<usize> = dims
        .split('x')
        .map(|d| d.parse().map_err(|_| format!("expected whole numbers joined by x, got {dims}")))
        .collect::<Result<_, _>>()?;
    if dims.len() != rank {
        return Err(format!("expected {rank} dimensions for {layout_name}, got {}", dims.len()));
    }
    let shape = Shape::from_dims(&dims, layout).map_err(|error| error.to_string())?;
    Ok(Named { name: name.into(), layout_name, layout, dims, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let list = parse("# a list\n\nstem NCHW 32x64x112x112  # the first\nlast NHWC 2x3x4x5\n").unwrap();
        let names: Vec<&str> = list.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["stem", "last"]);
        assert_eq!(list[0].shape, Shape::nchw(32, 64, 112, 112).unwrap());
        assert_eq!(list[1].shape, Shape::nhwc(2, 3, 4, 5).unwrap());
        assert_eq!((list[1].layout_name, list[1].dims_text().as_str()), ("NHWC", "2x3x4x5"));
    }

    #[test]
    fn dimensions_are_told_features_second() {
        let text = |line: &str| parse(line).unwrap()[0].shape_text();
        assert_eq!(text("a NHWC 32x56x57x256"), "32x256x56x57");
        assert_eq!(text("a NCHW 32x256x56x57"), "32x256x56x57");
        assert_eq!(text("a NLC 16x31x65"), "16x65x31");
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, says) in [
            ("a NC", "line 1: expected the three fields NAME LAYOUT DIMS, got 2"),
            ("\na NC 2x3 f32", "line 2: expected the three fields NAME LAYOUT DIMS, got 4"),
            ("a CN 2x3", "line 1: expected a layout of NC, NCL"),
            ("a nc 2x3", "got nc"),
            ("a NC 2x", "expected whole numbers joined by x, got 2x"),
            ("a NC 2x-3", "got 2x-3"),
            ("a NC 2x3x4", "expected 2 dimensions for NC, got 3"),
            ("a NCHW 2x3", "expected 4 dimensions for NCHW, got 2"),
            ("a NC 2x3\na NC 4x5", "line 2: expected a name of its own, got a again"),
            ("a NC 9223372036854775807x3", "expected at most"),
            ("# nothing", "got none"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn every_list_here_is_right() {
        let count = |list| load(list).unwrap_or_else(|error| panic!("{list}: {error}")).len();
        let counts = ["strategies", "mlp", "resnet50", "edge", "batch", "hard", "half", "many"].map(count);
        assert_eq!(counts[0], 4);
        assert_eq!(counts[2], 13, "ResNet-50's twelve shapes and one channels last");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shapes");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), counts.len(), "a list is not tested");
        assert!(load("no_such_list").unwrap_err().to_string().contains("no_such_list.txt"));
    }
}
