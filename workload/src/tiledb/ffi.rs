//! The C API of libtiledb, declared by hand: only the functions that this crate calls.
//!
//! Every function has kept its signature from libtiledb 2.25 to 2.30, the versions this crate is
//! tested with. A library that lacks one is refused with the function's name.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

use super::Error;

/// A handle that libtiledb gives out and takes back; its contents are libtiledb's own.
macro_rules! opaque {
    ($($name:ident)*) => { $(#[repr(C)] pub(super) struct $name { _private: [u8; 0] })* };
}

opaque! {
    Config ErrorHandle Ctx Group Array ArraySchema Domain Dimension Attribute Enumeration
    Filter FilterList Query QueryCondition StringHandle
}

/// What most functions return: 0 for success.
pub(super) type Status = i32;
/// `TILEDB_OK`.
pub(super) const OK: Status = 0;

/// Declares the functions once: a table of pointers, and its loader.
macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        /// Pointers to the functions, valid while the library that they came from stays loaded.
        pub(super) struct Functions {
            $(pub(super) $name: unsafe extern "C" fn($($argument: $type),*) $(-> $result)?,)*
        }

        impl Functions {
            /// Resolves every function, and names the first that is missing.
            pub(super) fn load(library: &libloading::Library, path: &Path) -> Result<Self, Error> {
                Ok(Self {
                    $($name: {
                        let symbol = concat!("tiledb_", stringify!($name));
                        // SAFETY: the declaration in this file is the C header's; the pointer is
                        // kept beside the library (`Library`), which outlives every use of it.
                        *unsafe { library.get(symbol) }.map_err(|_| Error::MissingFunction {
                            path: path.to_owned(),
                            function: symbol,
                        })?
                    },)*
                })
            }
        }
    };
}

functions! {
    fn version(major: *mut i32, minor: *mut i32, patch: *mut i32);
    fn error_message(error: *mut ErrorHandle, message: *mut *const c_char) -> Status;
    fn error_free(error: *mut *mut ErrorHandle);
    fn string_view(s: *mut StringHandle, data: *mut *const c_char, len: *mut usize) -> Status;
    fn string_free(s: *mut *mut StringHandle) -> Status;

    fn config_alloc(config: *mut *mut Config, error: *mut *mut ErrorHandle) -> Status;
    fn config_free(config: *mut *mut Config);
    fn config_set(config: *mut Config, key: *const c_char, value: *const c_char,
                  error: *mut *mut ErrorHandle) -> Status;
    fn ctx_alloc(config: *mut Config, ctx: *mut *mut Ctx) -> Status;
    fn ctx_free(ctx: *mut *mut Ctx);
    fn ctx_get_last_error(ctx: *mut Ctx, error: *mut *mut ErrorHandle) -> Status;

    fn object_type(ctx: *mut Ctx, uri: *const c_char, kind: *mut u32) -> Status;

    fn group_create(ctx: *mut Ctx, uri: *const c_char) -> Status;
    fn group_alloc(ctx: *mut Ctx, uri: *const c_char, group: *mut *mut Group) -> Status;
    fn group_free(group: *mut *mut Group);
    fn group_open(ctx: *mut Ctx, group: *mut Group, mode: u32) -> Status;
    fn group_close(ctx: *mut Ctx, group: *mut Group) -> Status;
    fn group_add_member(ctx: *mut Ctx, group: *mut Group, uri: *const c_char, relative: u8,
                        name: *const c_char) -> Status;
    fn group_get_member_count(ctx: *mut Ctx, group: *mut Group, count: *mut u64) -> Status;
    fn group_get_member_by_index_v2(ctx: *mut Ctx, group: *mut Group, index: u64,
                                    uri: *mut *mut StringHandle, kind: *mut u32,
                                    name: *mut *mut StringHandle) -> Status;
    fn group_get_metadata(ctx: *mut Ctx, group: *mut Group, key: *const c_char, kind: *mut u32,
                          count: *mut u32, value: *mut *const c_void) -> Status;
    fn group_put_metadata(ctx: *mut Ctx, group: *mut Group, key: *const c_char, kind: u32,
                          count: u32, value: *const c_void) -> Status;

    fn array_create(ctx: *mut Ctx, uri: *const c_char, schema: *const ArraySchema) -> Status;
    fn array_alloc(ctx: *mut Ctx, uri: *const c_char, array: *mut *mut Array) -> Status;
    fn array_free(array: *mut *mut Array);
    fn array_open(ctx: *mut Ctx, array: *mut Array, mode: u32) -> Status;
    fn array_close(ctx: *mut Ctx, array: *mut Array) -> Status;
    fn array_get_schema(ctx: *mut Ctx, array: *mut Array, schema: *mut *mut ArraySchema) -> Status;
    fn array_get_enumeration(ctx: *mut Ctx, array: *const Array, name: *const c_char,
                             enumeration: *mut *mut Enumeration) -> Status;
    fn array_get_metadata(ctx: *mut Ctx, array: *mut Array, key: *const c_char, kind: *mut u32,
                          count: *mut u32, value: *mut *const c_void) -> Status;
    fn array_put_metadata(ctx: *mut Ctx, array: *mut Array, key: *const c_char, kind: u32,
                          count: u32, value: *const c_void) -> Status;

    fn array_schema_alloc(ctx: *mut Ctx, kind: u32, schema: *mut *mut ArraySchema) -> Status;
    fn array_schema_free(schema: *mut *mut ArraySchema);
    fn array_schema_set_domain(ctx: *mut Ctx, schema: *mut ArraySchema,
                               domain: *mut Domain) -> Status;
    fn array_schema_add_attribute(ctx: *mut Ctx, schema: *mut ArraySchema,
                                  attribute: *mut Attribute) -> Status;
    fn array_schema_add_enumeration(ctx: *mut Ctx, schema: *mut ArraySchema,
                                    enumeration: *mut Enumeration) -> Status;
    fn array_schema_set_allows_dups(ctx: *mut Ctx, schema: *mut ArraySchema, allows: c_int) -> Status;
    fn array_schema_set_capacity(ctx: *mut Ctx, schema: *mut ArraySchema, capacity: u64) -> Status;
    fn array_schema_set_offsets_filter_list(ctx: *mut Ctx, schema: *mut ArraySchema,
                                            filters: *mut FilterList) -> Status;
    fn array_schema_check(ctx: *mut Ctx, schema: *mut ArraySchema) -> Status;
    fn array_schema_get_array_type(ctx: *mut Ctx, schema: *const ArraySchema,
                                   kind: *mut u32) -> Status;
    fn array_schema_get_domain(ctx: *mut Ctx, schema: *const ArraySchema,
                               domain: *mut *mut Domain) -> Status;
    fn array_schema_get_attribute_num(ctx: *mut Ctx, schema: *const ArraySchema,
                                      count: *mut u32) -> Status;
    fn array_schema_get_attribute_from_index(ctx: *mut Ctx, schema: *const ArraySchema, index: u32,
                                             attribute: *mut *mut Attribute) -> Status;

    fn domain_alloc(ctx: *mut Ctx, domain: *mut *mut Domain) -> Status;
    fn domain_free(domain: *mut *mut Domain);
    fn domain_add_dimension(ctx: *mut Ctx, domain: *mut Domain, dimension: *mut Dimension) -> Status;
    fn domain_get_ndim(ctx: *mut Ctx, domain: *const Domain, count: *mut u32) -> Status;
    fn domain_get_dimension_from_index(ctx: *mut Ctx, domain: *const Domain, index: u32,
                                       dimension: *mut *mut Dimension) -> Status;
    fn dimension_alloc(ctx: *mut Ctx, name: *const c_char, kind: u32, domain: *const c_void,
                       extent: *const c_void, dimension: *mut *mut Dimension) -> Status;
    fn dimension_free(dimension: *mut *mut Dimension);
    fn dimension_set_filter_list(ctx: *mut Ctx, dimension: *mut Dimension,
                                 filters: *mut FilterList) -> Status;
    fn dimension_get_name(ctx: *mut Ctx, dimension: *const Dimension,
                          name: *mut *const c_char) -> Status;
    fn dimension_get_type(ctx: *mut Ctx, dimension: *const Dimension, kind: *mut u32) -> Status;
    fn dimension_get_cell_val_num(ctx: *mut Ctx, dimension: *const Dimension,
                                  count: *mut u32) -> Status;

    fn attribute_alloc(ctx: *mut Ctx, name: *const c_char, kind: u32,
                       attribute: *mut *mut Attribute) -> Status;
    fn attribute_free(attribute: *mut *mut Attribute);
    fn attribute_set_cell_val_num(ctx: *mut Ctx, attribute: *mut Attribute, count: u32) -> Status;
    fn attribute_set_filter_list(ctx: *mut Ctx, attribute: *mut Attribute,
                                 filters: *mut FilterList) -> Status;
    fn attribute_set_enumeration_name(ctx: *mut Ctx, attribute: *mut Attribute,
                                      name: *const c_char) -> Status;
    fn attribute_get_name(ctx: *mut Ctx, attribute: *const Attribute,
                          name: *mut *const c_char) -> Status;
    fn attribute_get_type(ctx: *mut Ctx, attribute: *const Attribute, kind: *mut u32) -> Status;
    fn attribute_get_nullable(ctx: *mut Ctx, attribute: *mut Attribute, nullable: *mut u8) -> Status;
    fn attribute_get_cell_val_num(ctx: *mut Ctx, attribute: *const Attribute,
                                  count: *mut u32) -> Status;
    fn attribute_get_enumeration_name(ctx: *mut Ctx, attribute: *mut Attribute,
                                      name: *mut *mut StringHandle) -> Status;

    fn enumeration_alloc(ctx: *mut Ctx, name: *const c_char, kind: u32, cell_val_num: u32,
                         ordered: c_int, data: *const c_void, data_size: u64,
                         offsets: *const c_void, offsets_size: u64,
                         enumeration: *mut *mut Enumeration) -> Status;
    fn enumeration_free(enumeration: *mut *mut Enumeration);
    fn enumeration_get_type(ctx: *mut Ctx, enumeration: *mut Enumeration, kind: *mut u32) -> Status;
    fn enumeration_get_cell_val_num(ctx: *mut Ctx, enumeration: *mut Enumeration,
                                    count: *mut u32) -> Status;
    fn enumeration_get_ordered(ctx: *mut Ctx, enumeration: *mut Enumeration,
                               ordered: *mut c_int) -> Status;
    fn enumeration_get_data(ctx: *mut Ctx, enumeration: *mut Enumeration, data: *mut *const c_void,
                            size: *mut u64) -> Status;
    fn enumeration_get_offsets(ctx: *mut Ctx, enumeration: *mut Enumeration,
                               offsets: *mut *const c_void, size: *mut u64) -> Status;

    fn filter_alloc(ctx: *mut Ctx, kind: u32, filter: *mut *mut Filter) -> Status;
    fn filter_free(filter: *mut *mut Filter);
    fn filter_set_option(ctx: *mut Ctx, filter: *mut Filter, option: u32,
                         value: *const c_void) -> Status;
    fn filter_list_alloc(ctx: *mut Ctx, filters: *mut *mut FilterList) -> Status;
    fn filter_list_free(filters: *mut *mut FilterList);
    fn filter_list_add_filter(ctx: *mut Ctx, filters: *mut FilterList,
                              filter: *mut Filter) -> Status;

    fn query_alloc(ctx: *mut Ctx, array: *mut Array, mode: u32, query: *mut *mut Query) -> Status;
    fn query_free(query: *mut *mut Query);
    fn query_set_layout(ctx: *mut Ctx, query: *mut Query, layout: u32) -> Status;
    fn query_set_data_buffer(ctx: *mut Ctx, query: *mut Query, name: *const c_char,
                             buffer: *mut c_void, bytes: *mut u64) -> Status;
    fn query_set_offsets_buffer(ctx: *mut Ctx, query: *mut Query, name: *const c_char,
                                buffer: *mut u64, bytes: *mut u64) -> Status;
    fn query_set_validity_buffer(ctx: *mut Ctx, query: *mut Query, name: *const c_char,
                                 buffer: *mut u8, bytes: *mut u64) -> Status;
    fn query_set_condition(ctx: *mut Ctx, query: *mut Query,
                           condition: *const QueryCondition) -> Status;
    fn query_submit(ctx: *mut Ctx, query: *mut Query) -> Status;
    fn query_finalize(ctx: *mut Ctx, query: *mut Query) -> Status;
    fn query_get_status(ctx: *mut Ctx, query: *mut Query, status: *mut u32) -> Status;

    fn query_condition_alloc(ctx: *mut Ctx, condition: *mut *mut QueryCondition) -> Status;
    fn query_condition_free(condition: *mut *mut QueryCondition);
    fn query_condition_init(ctx: *mut Ctx, condition: *mut QueryCondition, name: *const c_char,
                            value: *const c_void, bytes: u64, operator: u32) -> Status;
    fn query_condition_combine(ctx: *mut Ctx, left: *const QueryCondition,
                               right: *const QueryCondition, operator: u32,
                               combined: *mut *mut QueryCondition) -> Status;
    fn query_condition_alloc_set_membership(ctx: *mut Ctx, name: *const c_char,
                                            data: *const c_void, data_size: u64,
                                            offsets: *const c_void, offsets_size: u64,
                                            operator: u32,
                                            condition: *mut *mut QueryCondition) -> Status;
}
