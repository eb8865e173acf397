"""``esper-train evaluate``: arms on the same unseen hosts, compared on the test split."""

from __future__ import annotations

from esper_karn import SafeConsole, echo
from esper_leyline.files.paths import check_folder_of
from esper_train.data import make_data_ready
from esper_train.evaluation.plan import plan_evaluation
from esper_train.evaluation.run import (
    PICTURE,
    RESULTS,
    collect_results,
    play_arms,
    results_folder,
    write_results,
)
from esper_train.evaluation.table import EvaluationTable
from esper_train.interrupts import StopRequest
from esper_train.settings.flags import SettingFlags
from esper_train.settings.options import EvaluateOptions


def run_evaluate(*, options: EvaluateOptions, hosts: SettingFlags, hardware: SettingFlags) -> int:
    """Evaluates arms, writes and prints the results, and returns the process's exit code."""
    plan = plan_evaluation(options, hosts, hardware)
    for note in plan.run.notes:
        echo(note)
    check_folder_of("--out", plan.out)
    make_data_ready(plan.run)
    with results_folder(plan.out), StopRequest() as stop:
        arms = play_arms(plan, stop)
        if arms is None:
            echo("interrupted: there are no results")
            return stop.exit_code
        results = collect_results(plan, arms)
        write_results(results, plan.out)
    SafeConsole().print(EvaluationTable(results))
    echo(f"results: {plan.out / RESULTS}, {plan.out / PICTURE}")
    return 0
