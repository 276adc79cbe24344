//! Evaluates Plonky3's symbolic constraints in the circuit.
//!
//! Expressions are trees with shared parts. Every distinct operation on the same operands is computed once: a node is
//! known by its operation and the numbers of its operands, however often and wherever it was written.

use std::collections::HashMap;

use p3_air::symbolic::{
    BaseEntry, BaseLeaf, ExtEntry, ExtLeaf, SymbolicExpr, SymbolicExpression, SymbolicExpressionExt,
};
use p3_field::PrimeCharacteristicRing as _;
use p3_field::PrimeField64 as _;
use plonky2::iop::target::Target;
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::cubic::{CubicBuilder, CubicTarget};
use crate::field::{Challenge, D, F, Val, to_plonky2};
use crate::shape::Constraint;

/// What the variables of a table's constraints stand for.
pub struct Variables<'a> {
    /// Main trace, this row and the next.
    pub main: [&'a [CubicTarget]; 2],
    /// Preprocessed trace, this row and the next.
    pub preprocessed: [&'a [CubicTarget]; 2],
    /// Auxiliary trace, this row and the next.
    pub permutation: [&'a [CubicTarget]; 2],
    /// Periodic columns.
    pub periodic: &'a [CubicTarget],
    /// Public values.
    pub public_values: &'a [Target],
    /// Challenges of the lookup argument, two per lookup.
    pub challenges: &'a [CubicTarget],
    /// The terminal sum, if the table has lookups.
    pub terminals: &'a [CubicTarget],
    /// Unnormalised selectors of the first row, the last row, and all but the last.
    pub selectors: [CubicTarget; 3],
}

/// A value, in the smallest form it is known in.
#[derive(Clone, Copy, Debug)]
enum Value {
    Constant(Val),
    Base(Target),
    Cubic(CubicTarget),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Sub,
    Mul,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Leaf {
    Base(BaseEntry, usize),
    Extension(ExtEntry, usize),
    Selector(usize),
    Constant(u64),
    ExtensionConstant([u64; 3]),
}

/// Number of a value; equal expressions have equal numbers.
type Number = usize;

/// Evaluates the constraints of one table.
pub struct Evaluator<'a> {
    builder: &'a mut CircuitBuilder<F, D>,
    variables: &'a Variables<'a>,
    values: Vec<Value>,
    leaves: HashMap<Leaf, Number>,
    operations: HashMap<(Operation, Number, Number), Number>,
    /// Sums of a product and a value, computed in one operation.
    product_sums: HashMap<(Number, Number, Number), Number>,
    /// Nodes met before. The expressions outlive the evaluator, so addresses stay theirs.
    visited: HashMap<usize, Number>,
}

impl<'a> Evaluator<'a> {
    /// An evaluator for a table with these variables.
    pub fn new(builder: &'a mut CircuitBuilder<F, D>, variables: &'a Variables<'a>) -> Self {
        Self {
            builder,
            variables,
            values: Vec::new(),
            leaves: HashMap::new(),
            operations: HashMap::new(),
            product_sums: HashMap::new(),
            visited: HashMap::new(),
        }
    }

    /// The values of all constraints, in order.
    pub fn constraints(&mut self, constraints: &'a [Constraint]) -> Vec<CubicTarget> {
        constraints
            .iter()
            .map(|constraint| {
                let number = match constraint {
                    Constraint::Base(expression) => self.base(expression),
                    Constraint::Extension(expression) => self.extension(expression),
                };
                self.cubic(self.values[number])
            })
            .collect()
    }

    fn base(&mut self, expression: &'a SymbolicExpression<Val>) -> Number {
        self.node(expression, &mut |this, leaf| this.base_leaf(leaf))
    }

    fn extension(&mut self, expression: &'a SymbolicExpressionExt<Val, Challenge>) -> Number {
        self.node(expression, &mut |this, leaf| match leaf {
            ExtLeaf::Base(expression) => this.base(expression),
            ExtLeaf::ExtVariable(variable) => this.leaf(Leaf::Extension(variable.entry, variable.index)),
            ExtLeaf::ExtConstant(constant) => {
                let limbs = crate::field::limbs(*constant).map(|limb| limb.as_canonical_u64());
                this.leaf(Leaf::ExtensionConstant(limbs))
            }
        })
    }

    fn base_leaf(&mut self, leaf: &BaseLeaf<Val>) -> Number {
        self.leaf(match leaf {
            BaseLeaf::Variable(variable) => Leaf::Base(variable.entry, variable.index),
            BaseLeaf::IsFirstRow => Leaf::Selector(0),
            BaseLeaf::IsLastRow => Leaf::Selector(1),
            BaseLeaf::IsTransition => Leaf::Selector(2),
            BaseLeaf::Constant(constant) => Leaf::Constant(constant.as_canonical_u64()),
        })
    }

    fn leaf(&mut self, leaf: Leaf) -> Number {
        if let Some(&number) = self.leaves.get(&leaf) {
            return number;
        }
        let variables = self.variables;
        let value = match leaf {
            Leaf::Base(BaseEntry::Main { offset }, index) => Value::Cubic(variables.main[offset][index]),
            Leaf::Base(BaseEntry::Preprocessed { offset }, index) => {
                Value::Cubic(variables.preprocessed[offset][index])
            }
            Leaf::Base(BaseEntry::Periodic, index) => Value::Cubic(variables.periodic[index]),
            Leaf::Base(BaseEntry::Public, index) => Value::Base(variables.public_values[index]),
            Leaf::Extension(ExtEntry::Permutation { offset }, index) => {
                Value::Cubic(variables.permutation[offset][index])
            }
            Leaf::Extension(ExtEntry::Challenge, index) => Value::Cubic(variables.challenges[index]),
            Leaf::Extension(ExtEntry::PermutationValue, index) => Value::Cubic(variables.terminals[index]),
            Leaf::Selector(index) => Value::Cubic(variables.selectors[index]),
            Leaf::Constant(constant) => Value::Constant(Val::from_u64(constant)),
            Leaf::ExtensionConstant(limbs) => {
                let limbs = limbs.map(|limb| self.builder.constant(to_plonky2(Val::from_u64(limb))));
                Value::Cubic(CubicTarget(limbs))
            }
        };
        let number = self.push(value);
        self.leaves.insert(leaf, number);
        number
    }

    fn node<A>(
        &mut self,
        expression: &'a SymbolicExpr<A>,
        on_leaf: &mut impl FnMut(&mut Self, &'a A) -> Number,
    ) -> Number {
        let address = core::ptr::from_ref(expression) as usize;
        if let Some(&number) = self.visited.get(&address) {
            return number;
        }
        let number = match expression {
            SymbolicExpr::Leaf(leaf) => return on_leaf(self, leaf),
            SymbolicExpr::Add { x, y, .. } => match (&**x, &**y) {
                // A product used only here costs nothing more than the addition.
                (SymbolicExpr::Mul { x: a, y: b, .. }, other) | (other, SymbolicExpr::Mul { x: a, y: b, .. }) => {
                    let (a, b) = (self.node(a, on_leaf), self.node(b, on_leaf));
                    let other = self.node(other, on_leaf);
                    self.product_sum(a, b, other)
                }
                (x, y) => {
                    let (x, y) = (self.node(x, on_leaf), self.node(y, on_leaf));
                    self.operation(Operation::Add, x, y)
                }
            },
            SymbolicExpr::Sub { x, y, .. } => {
                let (x, y) = (self.node(x, on_leaf), self.node(y, on_leaf));
                self.operation(Operation::Sub, x, y)
            }
            SymbolicExpr::Neg { x, .. } => {
                let zero = self.leaf(Leaf::Constant(0));
                let x = self.node(x, on_leaf);
                self.operation(Operation::Sub, zero, x)
            }
            SymbolicExpr::Mul { x, y, .. } => {
                let (x, y) = (self.node(x, on_leaf), self.node(y, on_leaf));
                self.operation(Operation::Mul, x, y)
            }
        };
        self.visited.insert(address, number);
        number
    }

    /// `a · b + c`, in one operation if the product is not known yet.
    fn product_sum(&mut self, a: Number, b: Number, c: Number) -> Number {
        let (a, b) = ordered(a, b);
        if let Some(&number) = self.product_sums.get(&(a, b, c)) {
            return number;
        }
        let is_known = self.operations.contains_key(&(Operation::Mul, a, b));
        if let (false, Value::Cubic(x), Value::Cubic(y), Value::Cubic(z)) =
            (is_known, self.values[a], self.values[b], self.values[c])
        {
            let value = self.builder.cubic_mul_add(x, y, z);
            let number = self.push(Value::Cubic(value));
            self.product_sums.insert((a, b, c), number);
            return number;
        }
        let product = self.operation(Operation::Mul, a, b);
        self.operation(Operation::Add, product, c)
    }

    fn operation(&mut self, operation: Operation, x: Number, y: Number) -> Number {
        let (x, y) = if operation == Operation::Sub { (x, y) } else { ordered(x, y) };
        if let Some(&number) = self.operations.get(&(operation, x, y)) {
            return number;
        }
        let value = self.compute(operation, self.values[x], self.values[y]);
        let number = self.push(value);
        self.operations.insert((operation, x, y), number);
        number
    }

    fn compute(&mut self, operation: Operation, x: Value, y: Value) -> Value {
        use Operation::{Add, Mul, Sub};
        use Value::{Base, Constant, Cubic};
        match (operation, x, y) {
            (Add, Constant(x), Constant(y)) => Constant(x + y),
            (Sub, Constant(x), Constant(y)) => Constant(x - y),
            (Mul, Constant(x), Constant(y)) => Constant(x * y),
            (Mul, Constant(constant), Cubic(value)) | (Mul, Cubic(value), Constant(constant)) => {
                Cubic(self.builder.cubic_scale_constant(value, constant))
            }
            (Mul, Cubic(value), other) | (Mul, other, Cubic(value)) if !matches!(other, Cubic(_)) => {
                let other = self.target(other);
                Cubic(self.builder.cubic_scale(value, other))
            }
            (Add, Cubic(value), other) | (Add, other, Cubic(value)) if !matches!(other, Cubic(_)) => {
                let other = self.target(other);
                Cubic(self.builder.cubic_add_base(value, other))
            }
            (Sub, Cubic(value), other) if !matches!(other, Cubic(_)) => {
                let other = self.target(other);
                Cubic(self.builder.cubic_sub_base(value, other))
            }
            (_, Cubic(_), _) | (_, _, Cubic(_)) => {
                let (x, y) = (self.cubic(x), self.cubic(y));
                Cubic(match operation {
                    Add => self.builder.cubic_add(x, y),
                    Sub => self.builder.cubic_sub(x, y),
                    Mul => self.builder.cubic_mul(x, y),
                })
            }
            _ => {
                let (x, y) = (self.target(x), self.target(y));
                Base(match operation {
                    Add => self.builder.add(x, y),
                    Sub => self.builder.sub(x, y),
                    Mul => self.builder.mul(x, y),
                })
            }
        }
    }

    /// A base-field value as a target. Callers have excluded cubic values.
    fn target(&mut self, value: Value) -> Target {
        match value {
            Value::Constant(constant) => self.builder.constant(to_plonky2(constant)),
            Value::Base(target) | Value::Cubic(CubicTarget([target, ..])) => target,
        }
    }

    fn cubic(&mut self, value: Value) -> CubicTarget {
        match value {
            Value::Cubic(value) => value,
            other => {
                let base = self.target(other);
                self.builder.cubic_from_base(base)
            }
        }
    }

    fn push(&mut self, value: Value) -> Number {
        self.values.push(value);
        self.values.len() - 1
    }
}

const fn ordered(x: Number, y: Number) -> (Number, Number) {
    if x <= y { (x, y) } else { (y, x) }
}
