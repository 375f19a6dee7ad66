//! A guest: QEMU without KVM, one port to talk through, a console that is kept.

use super::compiler;
use super::kernels::Kernel;
use crate::command::{command, run};
use anyhow::{Context, Result, bail};
use std::borrow::Cow;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Longest that a guest may take to its first word. It takes three seconds on an idle machine.
const BOOT: Duration = Duration::from_secs(120);
/// How much longer than a script's own limit the guest may stay silent.
const GRACE: Duration = Duration::from_secs(20);

/// The ports of a guest: for its agent, and for its compiler.
const PORTS: [&str; 2] = ["agent", "cc"];

/// How a guest is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Processors.
    pub(crate) cpus: u32,
    /// Memory.
    pub(crate) mib: u32,
    /// More words of the kernel's command line.
    pub(crate) kernel: Cow<'static, str>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            cpus: 2,
            mib: 2048,
            kernel: Cow::Borrowed(""),
        }
    }
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this exit status.
    Status(i32),
    /// By its time limit.
    TimedOut,
    /// The guest itself died, or said nothing more: these are the last words of its console.
    Lost(String),
}

/// A guest that runs.
pub(crate) struct Guest {
    qemu: Child,
    port: BufReader<UnixStream>,
    console: PathBuf,
    /// The socket's folder, removed with the guest.
    _place: tempfile::TempDir,
}

impl Guest {
    /// Boots a kernel with the disk, which the guest may write on and nobody else will see. Its
    /// console goes to the file.
    pub(crate) fn boot(
        kernel: &Kernel,
        machine: &Machine,
        disk: &Path,
        console: &Path,
    ) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let initramfs = place.path().join("initramfs");
        write_initramfs(kernel, place.path(), &initramfs)?;
        let sockets = PORTS.map(|name| place.path().join(name));
        let listeners = [listen(&sockets[0])?, listen(&sockets[1])?];
        let mut qemu = qemu(kernel, machine, disk, console, &initramfs, &sockets)
            .spawn()
            .context("QEMU doesn't start")?;
        let [port, compiler] = match accept_all(&listeners, &mut qemu) {
            Ok(ports) => ports,
            Err(error) => {
                let _ = qemu.kill();
                let _ = qemu.wait();
                return Err(error);
            }
        };
        // Ends when the guest does.
        std::thread::spawn(|| compiler::serve(compiler));
        let mut guest = Self {
            qemu,
            port: BufReader::new(port),
            console: console.to_owned(),
            _place: place,
        };
        guest.port.get_mut().write_all(b"hello\n")?;
        let deadline = Instant::now() + BOOT;
        match guest.line(deadline)? {
            Some(line) if line == "ready" => Ok(guest),
            _ => bail!(
                "Linux {} doesn't come up within {} s; its last words:\n{}",
                kernel.name,
                BOOT.as_secs(),
                last_words(console)
            ),
        }
    }

    /// Runs a script, showing its lines to `each` as they come.
    pub(crate) fn run(
        &mut self,
        script: &str,
        limit: Duration,
        mut each: impl FnMut(&str),
    ) -> Result<End> {
        let mut request = String::new();
        for line in script.lines() {
            request += &format!(">{line}\n");
        }
        request += &format!("run {}\n", limit.as_secs());
        if self.port.get_mut().write_all(request.as_bytes()).is_err() {
            return Ok(End::Lost(last_words(&self.console)));
        }
        let deadline = Instant::now() + limit + GRACE;
        while let Some(line) = self.line(deadline)? {
            if let Some(output) = line.strip_prefix('|') {
                each(output);
            } else if let Some(status) = line.strip_prefix('=') {
                return Ok(match status.parse() {
                    // What `timeout` says when it ended a script, by SIGTERM or by SIGKILL.
                    Ok(124 | 137) => End::TimedOut,
                    Ok(status) => End::Status(status),
                    Err(_) => End::Lost(format!("no exit status: {status}")),
                });
            }
        }
        Ok(End::Lost(last_words(&self.console)))
    }

    /// The next line, or nothing when the guest is gone or silent until the deadline.
    fn line(&mut self, deadline: Instant) -> Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.port.get_ref().set_read_timeout(Some(left))?;
            match self.port.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(None),
            }
        }
        let line = String::from_utf8_lossy(&line);
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn listen(socket: &Path) -> Result<UnixListener> {
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept_all(listeners: &[UnixListener; 2], qemu: &mut Child) -> Result<[UnixStream; 2]> {
    Ok([accept(&listeners[0], qemu)?, accept(&listeners[1], qemu)?])
}

/// Waits for QEMU to connect its end of a port.
fn accept(listener: &UnixListener, qemu: &mut Child) -> Result<UnixStream> {
    let began = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) => {}
        }
        if let Some(status) = qemu.try_wait()? {
            bail!("QEMU ended at once: {status}");
        }
        if began.elapsed() > BOOT {
            bail!("QEMU doesn't connect to its port");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn qemu(
    kernel: &Kernel,
    machine: &Machine,
    disk: &Path,
    console: &Path,
    initramfs: &Path,
    sockets: &[PathBuf; 2],
) -> std::process::Command {
    let mut qemu = command("qemu-system-x86_64");
    // One thread for all processors: with more, one of them is at times caught for ever in an
    // instruction that another is patching (seen on a tracepoint's static key).
    qemu.args([
        "-accel",
        "tcg,thread=single",
        "-cpu",
        "max",
        "-nodefaults",
        "-no-user-config",
    ]);
    qemu.args(["-display", "none", "-no-reboot"]);
    qemu.args(["-smp", &machine.cpus.to_string()]);
    qemu.args(["-m", &format!("{}M", machine.mib)]);
    qemu.arg("-kernel").arg(&kernel.image);
    qemu.arg("-initrd").arg(initramfs);
    // A guest that panics ends at once.
    qemu.args([
        "-append",
        &format!(
            "console=ttyS0 loglevel=5 panic=-1 oops=panic {}",
            machine.kernel
        ),
    ]);
    qemu.arg("-serial")
        .arg(format!("file:{}", console.display()));
    qemu.arg("-drive").arg(format!(
        "file={},if=none,id=disk,format=raw,snapshot=on,cache=unsafe",
        disk.display()
    ));
    qemu.args(["-device", "virtio-blk-pci,drive=disk"]);
    qemu.args(["-device", "virtio-serial-pci"]);
    for (name, socket) in PORTS.iter().zip(sockets) {
        let socket = socket.display();
        qemu.args(["-chardev", &format!("socket,id={name},path={socket}")]);
        qemu.args([
            "-device",
            &format!("virtserialport,chardev={name},name={name}"),
        ]);
    }
    qemu.stdin(Stdio::null()).stdout(Stdio::null());
    qemu
}

/// Packs what the guest starts from: a shell, the modules, the script that looks for the disk.
fn write_initramfs(kernel: &Kernel, place: &Path, to: &Path) -> Result<()> {
    let root = place.join("root");
    for folder in ["bin", "modules"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let busybox = crate::packages::find("busybox").context("no busybox")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    let init = root.join("init");
    fs::write(&init, include_str!("init.sh"))?;
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    for (order, module) in kernel.modules.iter().enumerate() {
        let name = module.file_name().context("a module has a name")?;
        let name = format!("{order:02}-{}", name.to_string_lossy());
        fs::copy(module, root.join("modules").join(name))?;
    }
    let pack = format!("find . | cpio --quiet -o -H newc > {}", to.display());
    run(command("sh").args(["-c", &pack]).current_dir(&root))
}

/// The end of a console.
fn last_words(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
