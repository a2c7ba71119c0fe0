"""The ledger is well formed, its arithmetic comes out, and a verdict never says more than the recordings allow."""

import copy
import json
import math
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

from eegfmri import project
from eegfmri.errors import DataError, RequestError
from eegfmri.ledger import arithmetic, claims, printed_equations, verdicts
from eegfmri.runner.chapters import discover, resolve_parameters

PAPERS = list(claims.papers())
MISSING = object()
finite = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.fixture(scope="module")
def ledger():
    return {claim.id: claim for claim in claims.load()}


@pytest.fixture(scope="module")
def found_verdicts():
    return {entry["id"]: entry for entry in verdicts.verify([])["claims"]}


@pytest.fixture
def changed(tmp_path):
    """Write a ledger in which something was changed, and return its path."""
    original = yaml.safe_load((project.data_dir() / "claims.yml").read_text(encoding="utf-8"))

    def change(edit):
        document = copy.deepcopy(original)
        edit(document, {entry["id"]: entry for entry in document["claims"]})
        path = tmp_path / "claims.yml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        return path

    return change


BOOK = discover()
PLACES = {name.rpartition("/")[2]: name for name in BOOK}


def results(key, value, low=None, high=None, *, dataset="sleep", simulated=False, chapter=None, **changed):
    """Return a results.json document with one result, made by its chapter with the parameters of profile full, some of them changed."""
    chapter = chapter or PLACES.get(key.partition("/")[0], "any/chapter")
    wanted = resolve_parameters(BOOK[chapter], "full") if chapter in BOOK else {}
    return {
        "schema": 1,
        "chapter": chapter,
        "parameters": {name: value for name, value in (wanted | changed).items() if value is not MISSING},
        "data": {"dataset": dataset, "simulated": simulated, "digest": "0123"},
        "environment": {},
        "seconds": 1.0,
        "results": [{"key": key, "value": value, "low": low, "high": high, "unit": "", "n": 23}],
    }


def verdict_of(claim_id, *documents, **options):
    entries = verdicts.verify(documents, **options)["claims"]
    return next(entry for entry in entries if entry["id"] == claim_id)


# ------------------------------------------------------------------------------------------------ the ledger itself


def test_every_paper_has_claims_and_every_claim_can_be_tested(ledger):
    assert list(dict.fromkeys(claim.paper for claim in ledger.values())) == PAPERS
    for claim in ledger.values():
        assert claim.chapter in BOOK, claim.id
        if claim.result_key:
            place = claim.result_key.partition("/")[0]
            assert place == claim.chapter.partition("/")[2], claim.id
            assert re.fullmatch(r"eegfmri run [a-z_]+/[a-z_]+ --profile full --data DIR", claim.command), claim.id
            assert all(key.startswith(f"{place}/") for key in claim.readings), claim.id
        else:
            assert claim.command is None


def test_a_finding_has_its_protocol_in_its_key(ledger):
    for claim in ledger.values():
        if claim.kind == "empirical":
            assert claim.result_key.split("/")[1] == claim.protocol, claim.id


def test_a_margin_is_narrow_enough_to_mean_something(ledger):
    for claim in ledger.values():
        if claim.margin:
            assert claim.margin.value <= abs(claims.published(claim.id)), claim.id


def test_every_source_stands_in_the_bibliography(ledger):
    text = (project.book_dir() / "references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{([^,\s]+),", text, re.M))
    assert {claim.cite for claim in ledger.values()} <= keys


@pytest.mark.parametrize(
    ("claim_id", "value"),
    [
        ("graph_fusion/eeg_gcn", 0.5883),
        ("graph_fusion/fmri_baseline", 0.3681),
        ("graph_fusion/eeg_baseline", 0.4603),
        ("transformer_cnn/psnr", 25.92),
        ("synthesis/volume_shape", "53 x 63 x 52"),
    ],
)
def test_published_values_are_as_printed_or_follow_from_them(claim_id, value):
    assert claims.published(claim_id) == (pytest.approx(value) if isinstance(value, float) else value)


def test_asking_for_a_claim_that_is_not_there_names_the_nearest():
    with pytest.raises(RequestError, match="did you mean 'graph_fusion/eeg_gcn'"):
        claims.published("graph_fusion/eeg_gnc")
    with pytest.raises(RequestError, match="no published value"):
        claims.published("saliency_fusion/eq1_normalised")


def _without(field):
    return lambda document, known: known["graph_fusion/fusion"].pop(field)


def _with(claim_id, **fields):
    return lambda document, known: known[claim_id].update(fields)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_without("published"), "claim 'graph_fusion/fusion': .*published"),
        (_without("margin"), "claim 'graph_fusion/fusion': .*margin or expect"),
        (_without("quote"), "claim 'graph_fusion/fusion': quote"),
        (_with("graph_fusion/fusion", colour="red"), "claim 'graph_fusion/fusion': colour"),
        (_with("graph_fusion/fusion", result_key="graph fusion"), "claim 'graph_fusion/fusion': result_key"),
        (_with("graph_fusion/fusion", statement="No full stop at the end"), "claim 'graph_fusion/fusion': statement"),
        (_with("graph_fusion/fusion", margin={"value": -1.0, "reason": "because it is"}), "margin.value"),
        (_with("graph_fusion/fusion", id="graph_fusion/eeg_gcn"), "'graph_fusion/eeg_gcn': id: it stands twice"),
        (_with("graph_fusion/fusion", id="fusion/fusion"), "'fusion/fusion': id: it must begin with"),
        (_with("transformer_cnn/n_pairs", uses={}), "claim 'transformer_cnn/n_pairs': uses: missing pairs, subjects"),
        (_with("transformer_cnn/shares", check={"expression": "train + ("}), "transformer_cnn/shares': expression"),
        (_with("saliency_fusion/eq22_rho", check={"routine": "guess"}), "'saliency_fusion/eq22_rho': check.routine"),
        (_with("saliency_fusion/eq22_rho", check={"routine": "rho_effect", "expression": "1"}), "check: .*either"),
        (
            _with(
                "graph_fusion/fmri_gain",
                published={"unit": "points", "derived": "base"},
                uses={"base": "graph_fusion/fmri_baseline"},
            ),
            "depends on itself",
        ),
        (lambda document, known: document.update(schema=2), "schema: 1"),
    ],
)
def test_a_malformed_ledger_is_refused_with_claim_and_field(changed, edit, message):
    with pytest.raises(DataError, match=message):
        claims.load(changed(edit))


# ------------------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize(
    ("claim_id", "verdict", "ours"),
    [
        ("graph_fusion/fmri_rounded", "consistent", 0.485),
        ("graph_fusion/lifted_is_fusion", "inconsistent", 0.583),
        ("graph_fusion/lifted_is_eeg", "inconsistent", 0.588),
        ("graph_fusion/eeg_gains_from_fusion", "inconsistent", -0.53),
        ("graph_fusion/within_gain", "consistent", 0.8),
        ("saliency_fusion/n_views", "inconsistent", 6),
        ("synthesis/block_length", "consistent", 340),
        ("synthesis/samples_per_block", "consistent", 155),
        ("synthesis/samples_if_inside", "inconsistent", 156),
        ("synthesis/n_samples", "consistent", 14880),
        ("synthesis/overlap", "inconsistent", 28),
        ("transformer_cnn/n_pairs", "consistent", 4720),
        ("transformer_cnn/n_train", "consistent", 2360),
        ("transformer_cnn/n_test", "consistent", 1180),
        ("transformer_cnn/whole_subjects", "consistent", 8),
        ("transformer_cnn/unit_range", "inconsistent", 9.04),
        ("transformer_cnn/slice_artefact", "inconsistent", 30 / 2.16),
    ],
)
def test_the_papers_own_numbers(found_verdicts, claim_id, verdict, ours):
    assert found_verdicts[claim_id]["verdict"] == verdict
    assert found_verdicts[claim_id]["ours"] == pytest.approx(ours)
    assert found_verdicts[claim_id]["level"] == "n/a"


@pytest.mark.parametrize(
    ("source", "value", "broken"),
    [
        ("transformer_cnn/n_subjects", 17, "transformer_cnn/n_pairs"),
        ("synthesis/n_volumes", 171, "synthesis/samples_per_block"),
        ("graph_fusion/eeg_within", 0.73, "graph_fusion/within_gain"),
    ],
)
def test_arithmetic_follows_the_numbers_and_not_the_expected_verdict(changed, source, value, broken):
    path = changed(lambda document, known: known[source]["published"].update(value=value))
    assert verdict_of(broken, path=path)["verdict"] == "inconsistent"


def test_a_contradiction_disappears_when_the_printed_number_is_mended(changed):
    path = changed(lambda document, known: known["graph_fusion/lifted_is_fusion"]["published"].update(value=0.583))
    assert verdict_of("graph_fusion/lifted_is_fusion", path=path)["verdict"] == "consistent"


@given(st.floats(1, 1e3), st.floats(1, 1e3), st.floats(-2, 2))
def test_an_expression_means_what_python_means(a, b, c):
    expression = "(a + b) * c - a / b + sqrt(abs(c)) ** 2 + max(a, b) % 7"
    expected = (a + b) * c - a / b + math.sqrt(abs(c)) ** 2 + max(a, b) % 7
    assert arithmetic.evaluate(expression, {"a": a, "b": b, "c": c}) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').getcwd()",
        "a.real",
        "[a][0]",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "a if a else 1",
        "a < 1",
        "'a' * 3",
        "True + 1",
        "unknown + 1",
        "eval('1')",
        "max(*[1, 2])",
        "min(a, key=a)",
        "9 ** 9 ** 9",
        "1 / 0",
        "(-1) ** 0.5",
        "sqrt(-1)",
        "a +",
        "a = 1",
    ],
)
def test_nothing_but_arithmetic_is_evaluated(expression):
    with pytest.raises(ValueError, match="expression"):
        arithmetic.evaluate(expression, {"a": 1.0})


def test_every_test_of_a_printed_equation_is_used_and_gives_a_number(ledger):
    used = {claim.check.routine for claim in ledger.values() if claim.check and claim.check.routine}
    assert used == set(printed_equations.ROUTINES)
    for routine in printed_equations.ROUTINES.values():
        finding = routine()
        assert math.isfinite(finding.value)
        assert finding.why


def test_equation_ten_holds_with_the_laplacian_in_place_of_its_eigenvalues():
    laplacian = printed_equations._path_laplacian(8)
    eigenvalues, basis = np.linalg.eigh(laplacian)
    scaled = 2 * laplacian / eigenvalues.max() - np.eye(8)
    signal = np.random.default_rng(1).standard_normal(8)
    theta = [0.5, 1.0, 0.25]
    by_terms = theta[0] * signal + theta[1] * scaled @ signal + theta[2] * (2 * scaled @ scaled @ signal - signal)
    by_spectrum = basis @ (chebyshev.chebval(2 * eigenvalues / eigenvalues.max() - 1, theta) * (basis.T @ signal))
    np.testing.assert_allclose(by_terms, by_spectrum, atol=1e-12)
    assert not printed_equations.chebyshev_without_basis().holds


# --------------------------------------------------------------------------------------------------------- verdicts


@given(finite, finite, st.floats(0, 1e6), st.floats(1e-6, 1e6))
def test_agreement_needs_the_value_inside_and_a_narrow_interval(value, low, width, margin):
    high = low + width
    verdict = verdicts.judge(value, low, high, margin)
    inside = low <= value <= high
    assert (verdict == "differs") == (not inside)
    assert (verdict == "agrees") == (inside and high - low <= margin)
    assert verdict in ("agrees", "differs", "inconclusive")


@given(finite, finite, st.floats(0, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_a_stricter_margin_never_makes_agreement(value, low, width, margin, factor):
    strict = verdicts.judge(value, low, low + width, margin * factor)
    assert strict != "agrees" or verdicts.judge(value, low, low + width, margin) == "agrees"


@given(finite, st.one_of(st.none(), st.just(math.nan), st.just(math.inf)))
def test_without_an_interval_nothing_is_concluded(value, end):
    assert verdicts.judge(value, end, value, 1.0) == "inconclusive"
    assert verdicts.judge_expectation(">", value, value, end) == "inconclusive"


@given(finite, finite, st.floats(0, 1e6))
def test_a_direction_is_judged_alike_from_both_sides(than, low, width):
    high = low + width
    above = verdicts.judge_expectation(">", than, low, high)
    below = verdicts.judge_expectation("<", -than, -high, -low)
    assert above == below
    assert (above == "agrees") == (low > than)
    assert (above == "differs") == (high <= than)


def test_simulated_recordings_verify_no_published_number(ledger):
    for claim in ledger.values():
        if not claim.result_key:
            continue
        value = claims.published(claim.id) if claim.published else 1.0
        value = float(value) if isinstance(value, (int, float)) else 1.0
        document = results(claim.result_key, value, value, value, dataset=claim.dataset, simulated=True)
        entry = verdict_of(claim.id, document)
        assert entry["verdict"] == "not comparable", claim.id
        assert entry["ours"] == value
        assert "simulated" in entry["why"]


def test_real_recordings_decide(ledger):
    claim = ledger["graph_fusion/eeg_gcn"]
    narrow, wide, away = (0.56, 0.61), (0.4, 0.7), (0.60, 0.65)
    for (low, high), verdict in ((narrow, "agrees"), (wide, "inconclusive"), (away, "differs")):
        entry = verdict_of(claim.id, results(claim.result_key, (low + high) / 2, low, high))
        assert entry["verdict"] == verdict
        assert (entry["low"], entry["high"], entry["n"]) == (low, high, 23)
        assert entry["level"] == "replicate"


def test_a_stated_fact_is_read_from_the_recordings():
    key = "datasets/rest/layout/n_volumes"
    assert verdict_of("transformer_cnn/n_volumes", results(key, 300, dataset="rest"))["verdict"] == "agrees"
    assert verdict_of("transformer_cnn/n_volumes", results(key, 299, dataset="rest"))["verdict"] == "differs"


def test_other_recordings_are_not_comparable(ledger):
    claim = ledger["graph_fusion/eeg_gcn"]
    for dataset, verdict in (("rest", "not comparable"), ("rest+sleep", "agrees")):
        document = results(claim.result_key, 0.58, 0.56, 0.61, dataset=dataset)
        assert verdict_of(claim.id, document)["verdict"] == verdict
    nothing = {"dataset": None, "simulated": False, "digest": None}
    for data in (None, nothing):
        document = results(claim.result_key, 0.58, 0.56, 0.61) | {"data": data}
        assert verdict_of(claim.id, document)["verdict"] == "not comparable"


@pytest.mark.parametrize("value", [None, math.nan, "0.58", True])
def test_a_result_that_is_no_number_concludes_nothing(ledger, value):
    entry = verdict_of("graph_fusion/eeg_gcn", results(ledger["graph_fusion/eeg_gcn"].result_key, value, 0.56, 0.61))
    assert (entry["verdict"], entry["ours"]) == ("inconclusive", None)


@pytest.mark.parametrize("order", [1, -1])
def test_real_recordings_come_before_simulated_ones(ledger, order):
    key = ledger["graph_fusion/eeg_gcn"].result_key
    documents = [results(key, 0.58, 0.56, 0.61), results(key, 0.9, 0.89, 0.91, simulated=True)][::order]
    entry = verdict_of("graph_fusion/eeg_gcn", *documents)
    assert (entry["verdict"], entry["ours"]) == ("agrees", 0.58)


def test_other_readings_stand_beside_and_do_not_decide(ledger):
    claim = ledger["graph_fusion/fusion_within"]
    entry = verdict_of(claim.id, results(claim.readings[0], 0.72, 0.7, 0.74))
    assert entry["verdict"] == "not run"
    assert [(reading["key"], reading["verdict"]) for reading in entry["readings"]] == [(claim.readings[0], "agrees")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_training_epochs": 2}, "with n_training_epochs = 2 where profile full has 20"),
        # Left by the profile as the chapter's cell has them.
        ({"lag": -20.0}, "with lag = -20.0 where profile full has 5.0"),
        ({"classes": ["W", "N2"]}, "with classes = ['W', 'N2'] where profile full has ['W', 'N1', 'N2']"),
        ({"adaptation": "none"}, "with adaptation = 'none' where"),
        ({"lag": MISSING}, "without lag where profile full has 5.0"),
        ({"n_passes": 3}, "with n_passes = 3, which fusion/graph_fusion does not know"),
        ({"chapter": "recordings/evaluation"}, "made by chapter recordings/evaluation where"),
    ],
)
def test_a_run_that_departs_from_the_profile_is_not_the_run_that_was_asked_for(ledger, changed, said):
    key = ledger["graph_fusion/eeg_gcn"].result_key
    as_asked, departing = results(key, 0.58, 0.56, 0.61), results(key, 0.57, 0.55, 0.6, **changed)
    entry = verdict_of("graph_fusion/eeg_gcn", departing)
    assert (entry["verdict"], entry["ours"]) == ("not run", 0.57)
    assert said in entry["why"]
    assert entry["command"] in entry["why"]
    for order in (1, -1):
        entry = verdict_of("graph_fusion/eeg_gcn", *[as_asked, departing][::order])
        assert (entry["verdict"], entry["ours"]) == ("agrees", 0.58), (
            "a run of another kind hides the one that was asked for"
        )


@pytest.mark.parametrize("changed", [{"n_jobs": 7}, {"seed": 3}, {"simulation_seed": 2}, {"data": "/elsewhere"}])
def test_where_and_with_which_seed_a_run_was_computed_is_no_departure(ledger, changed):
    document = results(ledger["graph_fusion/eeg_gcn"].result_key, 0.58, 0.56, 0.61, **changed)
    assert verdict_of("graph_fusion/eeg_gcn", document)["verdict"] == "agrees"


def test_what_was_not_run_says_what_is_missing_and_how_to_run_it(found_verdicts):
    not_run = [entry for entry in found_verdicts.values() if entry["verdict"] == "not run"]
    assert not_run
    for entry in not_run:
        assert entry["ours"] is None
        if entry["command"]:
            assert f"`{entry['command']}`" in entry["why"]
        else:
            assert entry["kind"] == "stated"


def test_a_claim_waits_for_its_chapter_only_until_that_computes_it(tmp_path, monkeypatch):
    path = project.data_dir() / "claims.yml"
    chapter = tmp_path / "book" / "fusion" / "graph_fusion.md"
    chapter.parent.mkdir(parents=True)
    monkeypatch.setenv("EEGFMRI_ROOT", str(tmp_path))
    for text, waits in ((None, True), ("# Nothing yet", True), ('record("graph_fusion/loso/eeg_gcn/…")', False)):
        if text is not None:
            chapter.write_text(text, encoding="utf-8")
        why = verdict_of("graph_fusion/eeg_gcn", path=path)["why"]
        assert ("does not compute it yet" in why) is waits
        assert "sleep recordings" in why


# ----------------------------------------------------------------------------------------- documents, in and out


def test_the_document_can_be_written_as_json_and_shown_as_a_table(ledger):
    document = verdicts.verify([results("graph_fusion/loso/eeg_gcn/balanced_accuracy", 0.58, math.nan, 0.61)])
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["schema"] == 1
    required = {"id", "paper", "statement", "published", "ours", "low", "high", "verdict", "why"}
    assert all(required <= set(entry) and entry["verdict"] in claims.VERDICTS for entry in document["claims"])
    shown = verdicts.table(document)
    assert list(shown["claim"]) == list(ledger)
    assert set(shown["verdict"]) <= set(claims.VERDICTS)
    assert verdicts.counts(document).to_numpy().sum() == len(ledger)
    assert list(verdicts.counts(document).index) == PAPERS


def test_one_paper_can_be_asked_for():
    document = verdicts.verify([], paper="synthesis")
    assert {entry["paper"] for entry in document["claims"]} == {"synthesis"}
    with pytest.raises(RequestError, match=", ".join(PAPERS)):
        verdicts.verify([], paper="sinthesis")


def test_results_of_someone_else_are_merged(tmp_path, ledger):
    key = ledger["graph_fusion/eeg_gcn"].result_key
    document = results(key, 0.58, 0.56, 0.61)
    for number, content in enumerate((document, [document])):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        entry = verdict_of("graph_fusion/eeg_gcn", results(key, 0.9, simulated=True), imported=[file])
        assert entry["verdict"] == "agrees"


def test_an_imported_number_says_where_it_comes_from(tmp_path, ledger):
    from eegfmri.runner.execution import code_digests

    claim = ledger["graph_fusion/eeg_gcn"]
    document = results(claim.result_key, 0.58, 0.56, 0.61)
    document["data"]["digest"] = "abc123"
    here = code_digests(discover()[claim.chapter])
    for code, told in (
        (here, "the code of this book"),
        ({"chapter": "0"}, "another version of the code"),
        ({}, "not state"),
    ):
        document["environment"] = {"commit": "1234567", "executed": "2026-11-02T10:00:00+00:00", "code": code}
        file = tmp_path / "theirs.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        entry = verdict_of(claim.id, document, imported=[file])
        assert told in entry["why"] and "executed 2026-11-02" in entry["why"] and "commit 1234567" in entry["why"]
        assert entry["provenance"]["file"] == "theirs.json" and entry["provenance"]["data"] == "abc123"
        assert entry["verdict"] == "agrees"
    own = verdict_of(claim.id, document)
    assert own["provenance"] is None and "Imported" not in own["why"]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, RequestError, "no file"),
        ("not json", RequestError, "not a JSON file"),
        ("{}", DataError, "schema"),
        (json.dumps(results("a/b/c/d", 1.0) | {"schema": 2}), DataError, "schema"),
        (json.dumps(results("a/b/c/d", [1.0])), DataError, "results.0.value"),
        (json.dumps(results("a/b/c/d", 1.0, 2.0, 1.0)), DataError, "turned round"),
        (json.dumps(results("a/b/c/d", 1.0) | {"data": {"dataset": "sleep"}}), DataError, "data.simulated"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_its_file(tmp_path, content, error, message):
    file = tmp_path / "theirs.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message) as caught:
        verdicts.verify([], imported=[file])
    assert "theirs.json" in str(caught.value)


def test_coverage_counts_empirical_claims_and_those_that_real_recordings_decided():
    def entry(paper, kind, verdict, chapter="a/page"):
        return {"paper": paper, "kind": kind, "verdict": verdict, "chapter": chapter}

    document = {
        "claims": [
            entry("one", "empirical", "agrees"),
            entry("one", "empirical", "inconclusive"),
            entry("one", "empirical", "not run", "b/page"),
            entry("one", "arithmetic", "consistent"),
            entry("two", "empirical", "not comparable"),
            entry("three", "flag", "not run"),
        ]
    }
    found = verdicts.coverage(document)
    assert found.loc["one", ["empirical", "tested", "agrees", "inconclusive", "not run"]].tolist() == [3, 2, 1, 1, 1]
    assert found.loc["two", ["empirical", "tested", "not comparable"]].tolist() == [1, 0, 1]
    assert found.loc["three"].sum() == 0
    assert verdicts.coverage(document, by="chapter").loc["b/page", "empirical"] == 1


# ------------------------------------------------------------------------------------------------------ controls


def of_run(claim, value, low, high, control=None):
    document = results(claim.result_key, value, low, high, dataset=claim.dataset)
    if control is not None:
        named = dict(zip(("value", "low", "high", "n"), control, strict=False))
        document["results"].append({"key": claim.control.key, **named})
    return document


@pytest.mark.parametrize(
    ("control", "verdict", "told"),
    [
        ((0.2, 0.1, 0.3), "agrees", "lies wholly"),
        ((0.0, -0.1, 0.1), "inconclusive", r"\[-0.1, 0.1\] does not lie wholly > 0.01"),
        ((-120.0, -130.0, -110.0), "inconclusive", "nothing follows from its effect"),
        ((0.2, None, None), "inconclusive", "does not lie wholly"),
        ((0.2, None, None, 1), "agrees", "lies wholly"),
        ((0.002, None, None, 1), "inconclusive", "does not lie wholly"),
        (None, "inconclusive", "the run has no synthesis/left_out/best/training_gain/normalised"),
    ],
)
def test_an_effect_of_a_model_that_has_learned_nothing_decides_nothing(ledger, monkeypatch, control, verdict, told):
    claim = ledger["synthesis/augmentation"]
    monkeypatch.setattr(verdicts, "_departures", lambda *_: "")
    entry = verdict_of(claim.id, of_run(claim, 5e-6, 1e-6, 9e-6, control))
    assert entry["verdict"] == verdict
    assert re.search(told, entry["why"])


def test_a_control_needs_a_result_that_it_controls():
    entry = {
        "id": "a/b",
        "kind": "arithmetic",
        "statement": "A plus b is c.",
        "cite": "x",
        "source": "y",
        "chapter": "a/b",
    }
    entry |= {"check": {"routine": next(iter(printed_equations.ROUTINES))}}
    with pytest.raises(ValueError, match="control without a result_key"):
        claims.Claim.model_validate(
            entry | {"control": {"key": "a/b/c/d", "relation": ">", "than": 0, "shows": "something was learned"}}
        )
