//! Naming the columns of a table.
//!
//! A table's row is a slice of field elements. [`columns!`] declares a struct with one field per column (or array of columns), reads it from a
//! slice of anything that copies (trace cells, symbolic variables, column numbers), writes it back, and knows every column's name. The
//! struct is copied rather than cast, so there is no `unsafe` and a layout cannot disagree with its names.

/// Declares the columns of a table.
///
/// ```ignore
/// columns! {
///     /// One row of the example table.
///     pub struct ExampleColumns {
///         /// One column.
///         is_real,
///         /// Four columns.
///         bytes: [4],
///     }
/// }
/// ```
macro_rules! columns {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident $(: [$count:expr])? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        pub struct $name<T> {
            $( $(#[$field_meta])* pub $field: $crate::columns::column_type!(T $(, $count)?), )*
        }

        // Derives do not take a field's type from a macro.
        impl<T: Copy> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T: Copy> Copy for $name<T> {}

        impl<T: core::fmt::Debug> core::fmt::Debug for $name<T> {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.debug_struct(stringify!($name))$( .field(stringify!($field), &self.$field) )*.finish()
            }
        }

        impl $name<()> {
            /// How many columns there are.
            pub const WIDTH: usize = 0 $( + $crate::columns::column_count!($($count)?) )*;

            /// The name of every column, in order.
            #[must_use]
            pub fn names() -> Vec<String> {
                let mut names = Vec::with_capacity(Self::WIDTH);
                $( $crate::columns::column_names!(names, $field $(, $count)?); )*
                names
            }
        }

        impl $name<usize> {
            /// The number of every column.
            #[must_use]
            pub fn numbers() -> Self {
                let numbers: Vec<usize> = (0..$name::<()>::WIDTH).collect();
                Self::read(&numbers)
            }
        }

        impl $name<$crate::Felt> {
            /// Changes one row of a trace.
            ///
            /// # Panics
            /// If the trace has no such row.
            pub fn edit(trace: &mut $crate::check::Trace, row: usize, change: impl FnOnce(&mut Self)) {
                let width = trace.width;
                let cells = &mut trace.values[row * width..(row + 1) * width];
                let mut columns = Self::read(cells);
                change(&mut columns);
                columns.write(cells);
            }
        }

        impl<T: Copy> $name<T> {
            /// Reads the columns of one row.
            ///
            /// # Panics
            /// If the row is shorter than the columns; a trace's width is fixed when it is made.
            #[inline]
            #[must_use]
            pub fn read(row: &[T]) -> Self {
                let mut next = 0;
                $(
                    let $field = $crate::columns::column_read!(row, next $(, $count)?);
                )*
                debug_assert_eq!(next, $name::<()>::WIDTH);
                Self { $( $field ),* }
            }

            /// Writes the columns of one row.
            ///
            /// # Panics
            /// If the row is shorter than the columns.
            #[inline]
            pub fn write(&self, row: &mut [T]) {
                let mut next = 0;
                $( $crate::columns::column_write!(self.$field, row, next $(, $count)?); )*
                debug_assert_eq!(next, $name::<()>::WIDTH);
            }
        }
    };
}

macro_rules! column_type {
    ($t:ty) => {
        $t
    };
    ($t:ty, $count:expr) => {
        [$t; $count]
    };
}

macro_rules! column_count {
    () => {
        1
    };
    ($count:expr) => {
        $count
    };
}

macro_rules! column_names {
    ($names:ident, $field:ident) => {
        $names.push(stringify!($field).to_owned())
    };
    ($names:ident, $field:ident, $count:expr) => {
        $names.extend((0..$count).map(|index| format!(concat!(stringify!($field), "[{}]"), index)))
    };
}

macro_rules! column_read {
    ($row:ident, $next:ident) => {{
        let value = $row[$next];
        $next += 1;
        value
    }};
    ($row:ident, $next:ident, $count:expr) => {{
        let value = core::array::from_fn::<_, { $count }, _>(|index| $row[$next + index]);
        $next += $count;
        value
    }};
}

macro_rules! column_write {
    ($value:expr, $row:ident, $next:ident) => {{
        $row[$next] = $value;
        $next += 1;
    }};
    ($value:expr, $row:ident, $next:ident, $count:expr) => {{
        $row[$next..$next + $count].copy_from_slice(&$value);
        $next += $count;
    }};
}

pub(crate) use {column_count, column_names, column_read, column_type, column_write, columns};
