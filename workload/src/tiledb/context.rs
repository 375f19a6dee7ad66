use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use super::{Error, Library, Result, ffi};

/// Calls a function of libtiledb with a context first, and turns a failure into [`Error::Call`].
///
/// The one contract behind every use in this module: a handle argument is the pointer inside a
/// live handle type of this crate (each frees its own, once, on drop); a string argument is a
/// `CStr` that outlives the call; an out-argument is a `&mut` to a value of the declared type.
/// Calls that hand over a buffer of the caller's have a `SAFETY` comment of their own.
macro_rules! call {
    ($ctx:expr, $function:ident $(, $argument:expr)* $(,)?) => {{
        let ctx: &$crate::tiledb::Context = &$ctx;
        // SAFETY: the contract stated at `call!`.
        let status = unsafe { (ctx.functions().$function)(ctx.as_ptr() $(, $argument)*) };
        ctx.check(status, stringify!($function))
    }};
}
pub(super) use call;

/// Declares a type that owns a handle of libtiledb's and frees it on drop.
macro_rules! handle {
    ($(#[$doc:meta])* $visibility:vis $name:ident, $free:ident) => {
        $(#[$doc])*
        $visibility struct $name {
            pub(super) ctx: $crate::tiledb::Context,
            pub(super) ptr: *mut $crate::tiledb::ffi::$name,
        }

        impl $name {
            /// Takes ownership of a handle that libtiledb has just given out.
            #[allow(dead_code, reason = "not every handle type is received from a getter")]
            pub(super) fn adopt(
                ctx: &$crate::tiledb::Context,
                ptr: *mut $crate::tiledb::ffi::$name,
            ) -> Self {
                Self { ctx: ctx.clone(), ptr }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: this type owns the handle, and drop runs once.
                unsafe { (self.ctx.functions().$free)(&mut self.ptr) };
            }
        }
    };
}
pub(super) use handle;

/// A TileDB context: the configuration, the thread pools and the memory budget behind all objects
/// opened with it. Cheap to clone.
#[derive(Clone)]
pub struct Context(Rc<Inner>);

struct Inner {
    library: Arc<Library>,
    ptr: *mut ffi::Ctx,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the last clone is gone, and with it every object of this context.
        unsafe { (self.library.functions.ctx_free)(&mut self.ptr) };
    }
}

impl Context {
    /// Creates a context with these settings over TileDB's defaults.
    ///
    /// ```no_run
    /// # use workload::tiledb::{Context, Library};
    /// let library = Library::find(None)?;
    /// let context = Context::new(library, [("sm.mem.total_budget", "10737418240")])?;
    /// # Ok::<(), workload::tiledb::Error>(())
    /// ```
    pub fn new<K: AsRef<str>, V: AsRef<str>>(
        library: Arc<Library>,
        settings: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let config = Config::new(&library)?;
        for (key, value) in settings {
            config.set(key.as_ref(), value.as_ref())?;
        }
        let mut ptr = ptr::null_mut();
        // SAFETY: the configuration is live; the context doesn't keep it.
        let status = unsafe { (library.functions.ctx_alloc)(config.ptr, &mut ptr) };
        if status != ffi::OK || ptr.is_null() {
            let message = "no context: TileDB refused the configuration, or had no memory".into();
            return Err(Error::Call {
                function: "ctx_alloc",
                message,
            });
        }
        drop(config);
        Ok(Self(Rc::new(Inner { library, ptr })))
    }

    /// The library behind it.
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    pub(super) fn functions(&self) -> &ffi::Functions {
        &self.0.library.functions
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::Ctx {
        self.0.ptr
    }

    /// `Ok` for success; else the context's last error.
    pub(super) fn check(&self, status: ffi::Status, function: &'static str) -> Result<()> {
        if status == ffi::OK {
            return Ok(());
        }
        let mut error = ptr::null_mut();
        // SAFETY: the context is live, and the error is freed in `take_message`.
        let got = unsafe { (self.functions().ctx_get_last_error)(self.as_ptr(), &mut error) };
        let message = match got {
            ffi::OK => take_message(self.functions(), error),
            _ => format!("status {status}, and no message"),
        };
        Err(Error::Call { function, message })
    }

    /// Copies a string that libtiledb gave out, and frees the original.
    pub(super) fn take_string(&self, mut handle: *mut ffi::StringHandle) -> Result<Option<String>> {
        if handle.is_null() {
            return Ok(None);
        }
        let (mut data, mut len) = (ptr::null(), 0);
        // SAFETY: the handle is live until `string_free` below; the view is copied before that.
        let text = unsafe {
            match (self.functions().string_view)(handle, &mut data, &mut len) {
                ffi::OK if len > 0 => {
                    String::from_utf8_lossy(std::slice::from_raw_parts(data.cast::<u8>(), len))
                        .into_owned()
                }
                _ => String::new(),
            }
        };
        // SAFETY: the handle is ours, and this is its last use.
        unsafe { (self.functions().string_free)(&mut handle) };
        Ok(Some(text))
    }
}

/// A configuration under construction.
struct Config<'a> {
    library: &'a Library,
    ptr: *mut ffi::Config,
}

impl<'a> Config<'a> {
    fn new(library: &'a Library) -> Result<Self> {
        let (mut ptr, mut error) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: both are out-arguments.
        let status = unsafe { (library.functions.config_alloc)(&mut ptr, &mut error) };
        check_error(library, status, error, "config_alloc")?;
        Ok(Self { library, ptr })
    }

    fn set(&self, key: &str, value: &str) -> Result<()> {
        let (name, text) = (c_string(key)?, c_string(value)?);
        let mut error = ptr::null_mut();
        let functions = &self.library.functions;
        // SAFETY: the configuration is live and the strings outlive the call.
        let status =
            unsafe { (functions.config_set)(self.ptr, name.as_ptr(), text.as_ptr(), &mut error) };
        check_error(self.library, status, error, "config_set")
            .map_err(|error| Error::Unexpected(format!("configuration {key}={value}: {error}")))
    }
}

impl Drop for Config<'_> {
    fn drop(&mut self) {
        // SAFETY: this type owns the handle.
        unsafe { (self.library.functions.config_free)(&mut self.ptr) };
    }
}

fn check_error(
    library: &Library,
    status: ffi::Status,
    error: *mut ffi::ErrorHandle,
    function: &'static str,
) -> Result<()> {
    match status {
        ffi::OK => Ok(()),
        _ => Err(Error::Call {
            function,
            message: take_message(&library.functions, error),
        }),
    }
}

/// Copies an error's message, and frees the error.
fn take_message(functions: &ffi::Functions, mut error: *mut ffi::ErrorHandle) -> String {
    if error.is_null() {
        return "no message".into();
    }
    let mut text: *const c_char = ptr::null();
    // SAFETY: the error is live and ours; its message lives as long as it does, and is copied.
    unsafe {
        let status = (functions.error_message)(error, &mut text);
        let message = match status {
            ffi::OK if !text.is_null() => CStr::from_ptr(text).to_string_lossy().trim().to_owned(),
            _ => "no message".into(),
        };
        (functions.error_free)(&mut error);
        message
    }
}

/// The text with a NUL behind it.
pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Nul(text.to_owned()))
}

/// Copies a string that belongs to a live object of libtiledb's.
pub(super) fn copy_c_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: libtiledb ends its strings with a NUL; the object is live at every call here.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
