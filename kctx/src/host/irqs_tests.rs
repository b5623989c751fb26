use super::*;
use proptest::prelude::*;

/// x86: CPU 1 is offline, so has no column; line 16 is shared; line 9 has counts but no action.
const X86: &str = "\
           CPU0       CPU2       CPU3       
  9:          1          0          2  IO-APIC   9-fasteoi   
 16:         29          0          7  IR-IO-APIC   16-fasteoi   i801_smbus, ehci_hcd:usb1, PCIe PME
 36:          0      99371          4 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 40:          5          6          7  xen-dyn    -event     xenbus
120:          0          0          1  dummy  some action
NMI:          0          3          0   Non-maskable interrupts
LOC:      42738      38956         12   Local timer interrupts
ERR:         17
MIS:          0
";

/// arm64 and RISC-V: trigger in a column of its own, blanks in a controller's name.
const LEVELS: &str = "\
           CPU0       CPU1       
 11:      10452       9988     GICv3  27 Level     arch_timer
 12:          3          0  RISC-V INTC   5 Edge      riscv-timer
 13:          0          4  SiFive PLIC  10 Edge
IPI0:       512        600       Rescheduling interrupts
Err:          0
";

fn actions(table: &InterruptTable, irq: u32) -> Vec<&str> {
    let row = table.irq(irq).unwrap();
    row.actions.iter().map(String::as_str).collect()
}

#[test]
fn columns_are_the_cpus_that_the_header_names() {
    let table = InterruptTable::parse(X86);
    assert_eq!(table.cpus, [0, 2, 3]);
    assert_eq!(table.rows.len(), 9);
    assert_eq!(table.count("36", 2), Some(99371));
    assert_eq!(table.count("LOC", 3), Some(12));
    assert_eq!(table.count("36", 1), None);
    assert_eq!(table.irq(36).unwrap().total(), 99375);
}

#[test]
fn shared_lines_name_all_their_actions() {
    let table = InterruptTable::parse(X86);
    assert_eq!(
        actions(&table, 16),
        ["i801_smbus", "ehci_hcd:usb1", "PCIe PME"]
    );
    let row = table.irq(16).unwrap();
    assert_eq!((row.chip.as_str(), row.hwirq), ("IR-IO-APIC", Some(16)));
    assert_eq!(row.trigger, "fasteoi");
}

#[test]
fn lines_without_action_number_or_per_cpu_counts() {
    let table = InterruptTable::parse(X86);
    assert!(actions(&table, 9).is_empty());
    assert_eq!(table.irq(9).unwrap().hwirq, Some(9));
    let xen = table.irq(40).unwrap();
    assert_eq!((xen.hwirq, xen.trigger.as_str()), (None, "event"));
    assert_eq!(actions(&table, 40), ["xenbus"]);
    assert_eq!(actions(&table, 120), ["some action"]);
    let errors = table.row("ERR").unwrap();
    assert_eq!((errors.total_only, errors.total()), (Some(17), 17));
    assert!(errors.counts.is_empty());
    let nmi = table.row("NMI").unwrap();
    assert_eq!(nmi.description, "Non-maskable interrupts");
    assert_eq!(nmi.irq, None);
}

#[test]
fn other_architectures_have_a_trigger_column() {
    let table = InterruptTable::parse(LEVELS);
    let timer = table.irq(11).unwrap();
    assert_eq!((timer.chip.as_str(), timer.hwirq), ("GICv3", Some(27)));
    assert_eq!(timer.trigger, "Level");
    assert_eq!(actions(&table, 11), ["arch_timer"]);
    assert_eq!(table.irq(12).unwrap().chip, "RISC-V INTC");
    assert_eq!(actions(&table, 12), ["riscv-timer"]);
    let idle = table.irq(13).unwrap();
    assert_eq!((idle.chip.as_str(), idle.actions.len()), ("SiFive PLIC", 0));
    assert_eq!(table.count("IPI0", 1), Some(600));
}

#[test]
fn a_controller_named_by_a_number_is_not_taken_for_the_hardware_number() {
    let table = InterruptTable::parse("  CPU0\n 14:   1   8259  7-edge      timer\n");
    let row = table.irq(14).unwrap();
    assert_eq!((row.chip.as_str(), row.hwirq), ("8259", Some(7)));
    assert_eq!(actions(&table, 14), ["timer"]);
}

#[test]
fn one_cpu_has_a_column_and_not_a_total() {
    let table = InterruptTable::parse("           CPU0       \nLOC:         42   Local timer\n");
    assert_eq!(table.count("LOC", 0), Some(42));
    assert_eq!(table.row("LOC").unwrap().total_only, None);
}

#[test]
fn softirqs_by_vector_and_cpu() {
    let table = SoftirqTable::parse(
        "                    CPU0       CPU1       \n          HI:          0          1\n      \
         NET_RX:      13454       9644\n      broken:  1\n",
    );
    assert_eq!(table.count("NET_RX", 1), Some(9644));
    assert_eq!(table.total("NET_RX"), Some(23098));
    assert_eq!(table.count("NET_RX", 2), None);
    assert_eq!(table.rows.len(), 2);
}

#[test]
fn this_machines_own_tables_are_read_whole() {
    let text = std::fs::read_to_string("/proc/softirqs").unwrap();
    let table = SoftirqTable::parse(&text);
    assert_eq!(table.rows.len(), text.lines().count() - 1);
    let text = std::fs::read_to_string("/proc/interrupts").unwrap();
    let table = InterruptTable::parse(&text);
    assert_eq!(table.rows.len(), text.lines().count() - 1);
}

/// Writes the table as x86 kernels do.
fn render(table: &InterruptTable) -> String {
    let mut text = String::from("     ");
    for cpu in &table.cpus {
        text.push_str(&format!("CPU{cpu:<8}"));
    }
    for row in &table.rows {
        text.push_str(&format!("\n{:>3}:", row.label));
        for count in &row.counts {
            text.push_str(&format!(" {count:>10}"));
        }
        if let Some(hwirq) = row.hwirq {
            text.push_str(&format!(" {:>8} {hwirq:>3}-{:<8}", row.chip, row.trigger));
        }
        if !row.actions.is_empty() {
            text.push_str(&format!("  {}", row.actions.join(", ")));
        }
    }
    text
}

prop_compose! {
    fn any_table()(columns in 1usize..5)(
        lines in prop::collection::vec((
            prop::collection::vec(any::<u64>(), columns),
            "[A-Z][A-Z-]{1,8}",
            any::<u64>(),
            "[a-z]{1,8}",
            prop::collection::vec("[a-z0-9@:.-]{1,12}", 0..3),
        ), 0..6),
        columns in Just(columns),
    ) -> InterruptTable {
        let rows = lines.into_iter().zip(1u32..).map(
            |((counts, chip, hwirq, trigger, actions), irq)| InterruptRow {
                label: irq.to_string(), irq: Some(irq), counts, total_only: None,
                chip, hwirq: Some(hwirq), trigger, actions, description: String::new(),
            }).collect();
        InterruptTable { cpus: (0..columns as u32).map(|cpu| cpu * 3).collect(), rows }
    }
}

proptest! {
    #[test]
    fn what_a_kernel_writes_is_read_back(table in any_table()) {
        prop_assert_eq!(InterruptTable::parse(&render(&table)), table);
    }

    #[test]
    fn never_panics(text in "[ A-Z0-9:,\\-\na-zé]{0,200}", any in ".{0,80}") {
        let with_header = format!("  CPU0 CPU1\n{text}\n 1: 2 3 {any}");
        let _ = InterruptTable::parse(&with_header);
        let _ = InterruptTable::parse(&any);
        let _ = SoftirqTable::parse(&with_header);
    }
}
