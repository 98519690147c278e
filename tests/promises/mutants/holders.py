"""Guards of "Nothing is lost" that are about who holds a run, and what belongs to it."""

from promises.mutants.mutant import Mutant

STORE, TRAIN = "degrade/store", "degrade/train"

HOLDERS = (
    Mutant(
        "Newer files",
        f"{STORE}/seal.py",
        "    if format > FILE_FORMAT:\n        raise NewerError(NEWER)\n    return values",
        "    return values",
        ("store/test_folder.py::test_a_newer_format_is_refused",),
    ),
    Mutant(
        "Newer files",
        f"{TRAIN}/checkpoint.py",
        '    if type(format) is int and format > known["format"]:\n',
        "    if False:\n",
        ("promises/test_faults.py::test_no_older_checkpoint_is_used_in_place_of_one_of_a_newer_degrade",),
    ),
    Mutant(
        "One death",
        "degrade/sweep/queue.py",
        "        self.singly |= {spec.run for spec in specs}\n",
        "",
        ("promises/test_deaths.py::test_what_breaks_a_pack_is_found_by_trying_its_runs_one_by_one",),
    ),
    Mutant(
        "Several sweeps",
        f"{STORE}/folder.py",
        "        if not self._acquire(lock):\n            yield False\n            return\n",
        "",
        ("store/test_folder.py::test_a_claim_is_exclusive_and_freed_by_death",),
    ),
    Mutant(
        "Hosts",
        f"{STORE}/folder.py",
        "            if self.try_read_state().elsewhere:\n                yield False\n                return\n",
        "",
        ("train/test_run.py::test_a_fresh_heartbeat_of_another_host_keeps_us_out",),
    ),
    Mutant(
        "Hosts",
        f"{STORE}/state.py",
        "abs(time.time() - (self.heartbeat or 0.0)) < STALE",
        "time.time() - (self.heartbeat or 0.0) < STALE",
        ("train/test_run.py::test_a_heartbeat_of_the_future_is_of_a_clock_that_was_wrong",),
    ),
    Mutant(
        "Hosts",
        f"{STORE}/holder.py",
        "        return not (self.started and started) or started == self.started\n",
        "        return True\n",
        ("store/test_holder.py::test_a_number_that_is_used_again_is_another_process",),
    ),
    Mutant(
        "Hosts",
        f"{STORE}/holder.py",
        "        return self.place == _find_place()\n",
        "        return True\n",
        ("store/test_holder.py::test_two_machines_of_one_name_are_two",),
    ),
    Mutant(
        "Hosts",
        f"{TRAIN}/resume.py",
        "    if taken := state.others:\n",
        "    if taken := False:\n",
        ("promises/test_hosts.py::test_a_host_that_slept_leaves_its_run_to_the_one_that_took_it_up",),
    ),
    Mutant(
        "Hosts",
        f"{STORE}/folder.py",
        "        try:\n            if not self.try_read_state().others:\n",
        "        try:\n            if True:\n",
        ("train/test_run.py::test_an_error_after_another_host_took_the_run_over_is_not_written_into_it",),
    ),
    Mutant(
        "Signals",
        f"{TRAIN}/processes.py",
        "    heard = [kind for kind in _ENDING if signal.getsignal(kind) != signal.SIG_IGN]",
        "    heard = [*_ENDING]",
        ("sweep/test_workers.py::test_what_was_ignored_when_it_began_stays_ignored",),
    ),
    Mutant(
        "Exit code 0",
        "degrade/sweep/launch.py",
        "    return code or int(len(tables.unfinished_states(after)) + broken + failed > 0)",
        "    return code or int(broken + failed > 0)",
        ("sweep/test_launch.py::test_a_sweep_of_which_a_run_is_not_done_does_not_end_well",),
    ),
    Mutant(
        "The folder goes away",
        f"{STORE}/folder.py",
        "            self.path.mkdir(exist_ok=True)\n",
        "            self.path.mkdir(parents=True, exist_ok=True)\n",
        ("store/test_holder.py::test_a_results_folder_that_has_gone_is_not_made_again",),
    ),
    Mutant(
        "Waiting",
        f"{STORE}/locks.py",
        "            if time.monotonic() - begin > LONGEST:\n",
        "            if False:\n",
        ("store/test_holder.py::test_who_is_waited_for_is_said_and_nobody_waits_for_ever",),
    ),
    Mutant(
        "Belonging",
        f"{STORE}/belonging.py",
        "    if known is not None or (state.iteration is not None and last != state.iteration):\n",
        "    if False:\n",
        ("promises/test_belonging.py::test_an_earlier_curve_of_a_finished_run_is_named_and_mended",),
    ),
    Mutant(
        "Belonging",
        f"{STORE}/belonging.py",
        "        path.replace(path.with_name(path.name + ASIDE))\n",
        "        continue\n",
        ("promises/test_belonging.py::test_a_run_under_way_goes_on_beside_a_file_of_another_run",),
    ),
    Mutant(
        "Belonging",
        f"{STORE}/belonging.py",
        "    if known is not None and folder.checkpoint.exists() and known != seal.read_digits(folder.checkpoint):\n",
        "    if False:\n",
        (
            "promises/test_belonging.py::test_a_checkpoint_that_is_not_the_last_takes_nothing_from_the_curve_and_is_named",
        ),
    ),
    Mutant(
        "One probe",
        f"{TRAIN}/fit.py",
        "            self.spec = replace(self.spec, engine=replace(self.spec.engine, probe=read_probe(state)))\n",
        "            pass\n",
        ("train/test_probe.py::test_a_run_keeps_the_probe_it_began_with_so_that_no_part_passes_for_the_whole",),
    ),
)
