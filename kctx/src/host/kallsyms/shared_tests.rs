use super::*;

const SECOND: u64 = 1_000_000_000;
/// How long a reading takes here.
const READ_NS: u64 = SECOND / 20;

const CORE: u64 = 0xffff_ffff_8100_0000;
const MODULE: u64 = 0xffff_ffff_c000_1000;

/// A kernel with one module, or none.
#[derive(Default)]
struct Fake {
    reads: u64,
    now_ns: u64,
    module: Option<&'static str>,
}

#[derive(Clone, Default)]
struct Handle(Arc<Mutex<Fake>>);

impl Handle {
    fn symbols(&self) -> Symbols {
        Symbols::of(Box::new(self.clone()))
    }

    fn reads(&self) -> u64 {
        self.0.lock().unwrap().reads
    }

    fn later(&self, ns: u64) {
        self.0.lock().unwrap().now_ns += ns;
    }

    /// Another module is where the last one was.
    fn load(&self, symbols: &mut Symbols, module: Option<&'static str>) {
        self.0.lock().unwrap().module = module;
        symbols.modules_changed();
    }
}

impl Kernel for Handle {
    fn open(&mut self) -> std::io::Result<Box<dyn BufRead>> {
        let mut fake = self.0.lock().unwrap();
        fake.reads += 1;
        fake.now_ns += READ_NS;
        let mut text = format!("{CORE:x} T core_work\n{:x} T _etext\n", CORE + 0x1000);
        if let Some(module) = fake.module {
            text += &format!("{MODULE:x} t {module}_work\t[{module}]\n");
        }
        Ok(Box::new(std::io::Cursor::new(text)))
    }

    fn now_ns(&self) -> u64 {
        self.0.lock().unwrap().now_ns
    }
}

fn name(symbols: &mut Symbols, address: u64) -> String {
    let name = symbols.function_at(address);
    name.unwrap_or_else(|| "-".to_owned())
}

#[test]
fn the_kernels_own_symbols_are_read_once_however_many_modules_come_and_go() {
    let kernel = Handle::default();
    let mut symbols = kernel.symbols();
    assert_eq!(kernel.reads(), 0);
    assert_eq!(name(&mut symbols, CORE), "core_work");
    for _ in 0..1000 {
        kernel.load(&mut symbols, Some("a"));
        kernel.later(SECOND);
        symbols.renew();
        assert_eq!(name(&mut symbols, CORE), "core_work");
        assert_eq!(
            symbols.function_around(CORE + 8).as_deref(),
            Some("core_work")
        );
    }
    assert_eq!(kernel.reads(), 1);
}

#[test]
fn an_address_that_another_module_took_over_never_has_the_old_ones_name() {
    let kernel = Handle::default();
    let mut symbols = kernel.symbols();
    let mut other = symbols.clone();
    kernel.load(&mut symbols, Some("old"));
    assert_eq!(name(&mut symbols, MODULE), "old_work");
    kernel.load(&mut symbols, Some("new"));
    // Read just now: nobody knows, and nobody guesses.
    assert_eq!(name(&mut symbols, MODULE), "-");
    other.renew();
    assert_eq!(
        other.function_around(MODULE + 8),
        None,
        "not the last of the kernel's"
    );
    kernel.later(SECOND - 1);
    assert!(!symbols.renew());
    assert_eq!(name(&mut symbols, MODULE), "-");
    kernel.later(1);
    assert_eq!(name(&mut symbols, MODULE), "-", "until it is renewed");
    assert!(symbols.renew());
    assert_eq!(name(&mut symbols, MODULE), "new_work");
    assert!(other.renew());
    assert_eq!(
        other.function_around(MODULE + 8).as_deref(),
        Some("new_work")
    );
    assert_eq!(kernel.reads(), 2, "what one has read is there for all");
}

#[test]
fn the_first_event_in_a_while_is_followed_at_once() {
    let kernel = Handle::default();
    let mut symbols = kernel.symbols();
    for (module, expected) in [(Some("a"), "a_work"), (None, "-"), (Some("b"), "b_work")] {
        kernel.later(60 * SECOND);
        kernel.load(&mut symbols, module);
        assert_eq!(name(&mut symbols, MODULE), expected);
    }
    assert_eq!(kernel.reads(), 3);
}

#[test]
fn modules_that_come_and_go_all_the_time_cost_a_hundredth_of_a_cpu() {
    let kernel = Handle::default();
    let mut symbols = kernel.symbols();
    let mut named = 0;
    for i in 0..6_000 {
        kernel.load(&mut symbols, [None, Some("a"), None][i % 3]);
        kernel.later(SECOND / 10);
        symbols.renew();
        named += u64::from(name(&mut symbols, MODULE) == "a_work");
    }
    // Ten minutes: one each five seconds, after the first few.
    let reads = kernel.reads();
    assert!((110..=125).contains(&reads), "{reads}");
    assert!(named > 0);
    let now_ns = kernel.now_ns();
    assert!(reads * READ_NS <= now_ns / 95, "{reads} in {now_ns} ns");
    // In the first seconds they are followed closely: that is when somebody looks.
    let kernel = Handle::default();
    let mut symbols = kernel.symbols();
    for _ in 0..40 {
        kernel.load(&mut symbols, Some("a"));
        kernel.later(SECOND / 10);
        symbols.renew();
        name(&mut symbols, MODULE);
    }
    assert_eq!(kernel.reads(), 3, "at 0, 1 and 3 s");
}
