//! What a circuit is made from, as 32 bytes.
//!
//! Building a circuit takes seconds to minutes, so built circuits are kept. A kept circuit is used only for exactly the
//! description it was built from: the layer, its configuration, the shape with every constraint, and the keys of the
//! circuits it verifies. What the fingerprint cannot see is our own code; [`crate::cache::VERSION`] stands for that,
//! and a test pins the digest of a circuit so that a change of code cannot go without a change of version.

use std::collections::HashMap;

use p3_air::symbolic::{BaseLeaf, ExtLeaf, SymbolicExpr, SymbolicExpression, SymbolicExpressionExt};
use p3_field::PrimeField64 as _;
use plonky2::field::types::PrimeField64 as _;
use sha2::{Digest as _, Sha256};

use crate::aggregate::key_elements;
use crate::cache::VERSION;
use crate::circuit::{Inner, Key};
use crate::field::{Challenge, Val, limbs};
use crate::profile::{Layer, Profile};
use crate::shape::{Constraint, Shape};

/// SHA-256 of a circuit's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of the segment circuit of `shape` at `index` among `shapes`.
    #[must_use]
    pub fn segment(profile: Profile, shape: &Shape, index: usize, shapes: usize) -> Self {
        let mut hasher = Hasher::new("segment", profile, Layer::Segment);
        hasher.number(index);
        hasher.number(shapes);
        hasher.shape(shape);
        hasher.finish()
    }

    /// Of the circuits that aggregate segments with these keys.
    #[must_use]
    pub fn aggregation(profile: Profile, segments: &[Key<Inner>]) -> Self {
        let mut hasher = Hasher::new("aggregation", profile, Layer::Merge);
        hasher.number(segments.len());
        for segment in segments {
            hasher.key(segment);
        }
        hasher.finish()
    }

    /// Of the whole chain over segments with these fingerprints, in the order of their shapes: everything that the last circuit depends on, by
    /// description. It is known in a second, where the last circuit takes minutes to build.
    #[must_use]
    pub fn chain(profile: Profile, segments: &[Self], outer: &str) -> Self {
        let mut hasher = Hasher::new("chain", profile, Layer::Segment);
        hasher.number(VERSION as usize);
        for layer in Layer::ALL {
            hasher.text(&format!("{:?}", profile.plonky2(layer)));
        }
        hasher.text(outer);
        hasher.number(segments.len());
        for segment in segments {
            hasher.0.update(segment.0);
        }
        hasher.finish()
    }

    /// Of the circuits above the merge with this key; `outer` names the configuration of the last one.
    #[must_use]
    pub fn shrink(profile: Profile, merge: &Key<Inner>, outer: &str) -> Self {
        let mut hasher = Hasher::new("shrink", profile, Layer::Shrink);
        hasher.text(&format!("{:?}", profile.plonky2(Layer::Last)));
        hasher.text(outer);
        hasher.key(merge);
        hasher.finish()
    }
}

/// Absorbs parts, each with its length or of fixed length, so that no two descriptions meet.
struct Hasher(Sha256);

impl Hasher {
    fn new(kind: &str, profile: Profile, layer: Layer) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.text("joule circuit");
        hasher.text(kind);
        hasher.text(profile.name());
        hasher.text(&format!("{:?}", profile.plonky2(layer)));
        hasher
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn element(&mut self, element: u64) {
        self.0.update(element.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text);
    }

    fn key(&mut self, key: &Key<Inner>) {
        self.text(&format!("{:?}", key.common));
        let elements = key_elements(&key.verifier);
        self.number(elements.len());
        for element in elements {
            self.element(element.to_canonical_u64());
        }
    }

    fn shape(&mut self, shape: &Shape) {
        self.text(&format!("{:?} {:?} {:?}", shape.parameters, shape.batches, shape.schedule));
        self.number(shape.buses);
        self.number(shape.message_width_max);
        for seed in [&shape.seeds.batch, &shape.seeds.opening, &shape.seeds.fri] {
            self.elements(seed);
        }
        self.number(shape.tables.len());
        for table in &shape.tables {
            self.number(table.log_height);
            self.number(table.public_values);
            self.text(&format!("{:?}", table.buses));
            self.number(table.periodic.len());
            for column in &table.periodic {
                self.elements(column);
            }
            self.number(table.constraints.len());
            let mut expressions = Expressions::default();
            for constraint in &table.constraints {
                let digest = match constraint {
                    Constraint::Base(expression) => expressions.base(expression),
                    Constraint::Extension(expression) => expressions.extension(expression),
                };
                self.0.update(digest);
            }
        }
    }

    fn elements(&mut self, elements: &[Val]) {
        self.number(elements.len());
        for element in elements {
            self.element(element.as_canonical_u64());
        }
    }
}

/// Digests of expressions. Shared parts are hashed once, so the cost is the size of the graph and not of the tree.
#[derive(Default)]
struct Expressions {
    known: HashMap<usize, [u8; 32]>,
}

impl Expressions {
    fn base(&mut self, expression: &SymbolicExpression<Val>) -> [u8; 32] {
        self.node(expression, &mut |_, leaf: &BaseLeaf<Val>| match leaf {
            BaseLeaf::Variable(variable) => tagged(0, format!("{:?} {}", variable.entry, variable.index).as_bytes()),
            BaseLeaf::IsFirstRow => tagged(1, &[]),
            BaseLeaf::IsLastRow => tagged(2, &[]),
            BaseLeaf::IsTransition => tagged(3, &[]),
            BaseLeaf::Constant(constant) => tagged(4, &constant.as_canonical_u64().to_le_bytes()),
        })
    }

    fn extension(&mut self, expression: &SymbolicExpressionExt<Val, Challenge>) -> [u8; 32] {
        self.node(expression, &mut |this, leaf| match leaf {
            ExtLeaf::Base(expression) => tagged(5, &this.base(expression)),
            ExtLeaf::ExtVariable(variable) => tagged(6, format!("{:?} {}", variable.entry, variable.index).as_bytes()),
            ExtLeaf::ExtConstant(constant) => {
                tagged(7, &limbs(*constant).map(|limb| limb.as_canonical_u64().to_le_bytes()).concat())
            }
        })
    }

    fn node<A>(
        &mut self,
        expression: &SymbolicExpr<A>,
        on_leaf: &mut impl FnMut(&mut Self, &A) -> [u8; 32],
    ) -> [u8; 32] {
        // Leaves are inline in their nodes and hashed anew; a leaf and what it holds may share an address.
        if let SymbolicExpr::Leaf(leaf) = expression {
            return on_leaf(self, leaf);
        }
        let address = core::ptr::from_ref(expression) as usize;
        if let Some(&digest) = self.known.get(&address) {
            return digest;
        }
        let digest = match expression {
            SymbolicExpr::Leaf(leaf) => on_leaf(self, leaf),
            SymbolicExpr::Add { x, y, .. } => tagged(8, &[self.node(x, on_leaf), self.node(y, on_leaf)].concat()),
            SymbolicExpr::Sub { x, y, .. } => tagged(9, &[self.node(x, on_leaf), self.node(y, on_leaf)].concat()),
            SymbolicExpr::Neg { x, .. } => tagged(10, &self.node(x, on_leaf)),
            SymbolicExpr::Mul { x, y, .. } => tagged(11, &[self.node(x, on_leaf), self.node(y, on_leaf)].concat()),
        };
        self.known.insert(address, digest);
        digest
    }
}

fn tagged(tag: u8, bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([tag]).chain_update(bytes).finalize().into()
}
