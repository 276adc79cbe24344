//! The profiler, on a program with calls, tail calls, recursion and precompiles. Its source is `tests/profiles/routines.S`.

use joule_machine::{Image, Limits, Profile, Routine, Witness, profile, profile_calls, run};

fn profiled() -> (Image, Profile) {
    let image = Image::from_elf(include_bytes!("profiles/routines.elf")).unwrap();
    let (witness, limits) = (Witness::default(), Limits { cycles: 10_000, pages: 8 });
    let (outcome, profile) = profile(&image, &witness, limits).unwrap();
    assert_eq!(run(&image, &witness, limits).unwrap(), outcome);
    assert_eq!(outcome.exit_code, 0);
    assert_eq!(profile.total.cycles, u64::from(outcome.cycles));
    assert_eq!(profile.total.precompiles, outcome.precompiles);
    (image, profile)
}

fn routine<'a>(profile: &'a Profile, name: &str) -> &'a Routine {
    profile.routines.iter().find(|routine| routine.name == name).unwrap()
}

#[test]
fn costs_go_to_the_routine_and_to_its_callers() {
    let (_, profile) = profiled();
    let costs = |name| {
        let routine = routine(&profile, name);
        (routine.calls, routine.exclusive.cycles, routine.inclusive.cycles)
    };
    // Counted by hand from the source.
    assert_eq!(costs("leaf"), (3, 9, 9));
    assert_eq!(costs("hashes_in_tail"), (1, 2, 7));
    assert_eq!(costs("hashes"), (1, 5, 5));
    assert_eq!(costs("calls_leaf"), (2, 14, 20));
    // Three levels of recursion, counted once.
    assert_eq!(costs("recurses"), (3, 26, 29));
    let total = profile.total.cycles;
    assert_eq!(routine(&profile, "_start").inclusive.cycles, total);
    assert_eq!(profile.routines.iter().map(|routine| routine.exclusive.cycles).sum::<u64>(), total);
}

#[test]
fn precompiles_are_attributed_like_cycles() {
    let (_, profile) = profiled();
    assert_eq!(profile.total.precompiles.keccak_f, 1);
    assert_eq!(routine(&profile, "hashes").exclusive.precompiles.keccak_f, 1);
    assert_eq!(routine(&profile, "hashes_in_tail").exclusive.precompiles.keccak_f, 0);
    assert_eq!(routine(&profile, "hashes_in_tail").inclusive.precompiles.keccak_f, 1);
    assert_eq!(routine(&profile, "leaf").inclusive.precompiles.keccak_f, 0);
}

#[test]
fn calls_of_one_routine_are_told_apart() {
    let image = Image::from_elf(include_bytes!("profiles/routines.elf")).unwrap();
    let calls = |name| {
        let limits = Limits { cycles: 10_000, pages: 8 };
        let (.., calls) = profile_calls(&image, &Witness::default(), limits, name).unwrap();
        calls.iter().map(|cost| (cost.cycles, cost.precompiles.keccak_f)).collect::<Vec<_>>()
    };
    assert_eq!(calls("calls_leaf"), [(10, 0), (10, 0)]);
    assert_eq!(calls("hashes_in_tail"), [(7, 1)]);
    assert_eq!(calls("recurses"), [(29, 0)]);
    assert_eq!(calls("nobody"), []);
}

#[test]
fn tables_and_json_name_the_routines() {
    let (image, profile) = profiled();
    let table = profile.to_string();
    let json = serde_json::to_value(&profile).unwrap();
    assert_eq!(json["total"]["keccak_f"], 1);
    for symbol in image.symbols() {
        assert!(table.contains(&symbol.name));
        let routines = json["routines"].as_array().unwrap();
        assert!(routines.iter().any(|routine| routine["name"] == symbol.name.as_str()));
    }
}

#[test]
fn aborts_name_the_routine() {
    let image = Image::from_elf(include_bytes!("profiles/routines.elf")).unwrap();
    let abort = run(&image, &Witness::default(), Limits { cycles: 8, pages: 8 }).unwrap_err();
    assert_eq!(abort.routine.as_deref(), Some("leaf"));
}
