"""The round: what the parts are given, what they must give back, and what is recorded."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from labsec import Scenario, bind, compress, data, poison, privacy, robust, rounds, run
from labsec.federation.bind import part_in_words
from labsec.federation.population import Population
from labsec.models import mlp
from labsec.train import local_updates
from labsec.types import ImpossibleRule

SMALL = {"clients": 6, "rounds": 3, "local_steps": 1, "batch_size": 8}


def honest(view):
    return view.own


def nothing(view):
    return torch.zeros_like(view.own)


def test_the_default_run_learns():
    history = run(Scenario())
    assert history.final_accuracy > 0.9
    assert history.malicious == 0
    frame = history.frame()
    assert list(frame["round"]) == list(range(20))
    assert (frame["participants"] == 20).all()
    assert frame["loss"].iloc[-1] < frame["loss"].iloc[0]


def test_a_run_repeats_bit_by_bit_and_seeds_differ():
    a, b, c = (list(rounds(Scenario(seed=s, **SMALL)))[-1].after for s in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    run(Scenario(**SMALL))
    assert torch.equal(before, torch.get_rng_state())


def test_honest_messages_do_not_change_with_an_attack():
    clean = next(rounds(Scenario(**SMALL)))
    attacked = next(rounds(Scenario(malicious=0.3, attack=nothing, **SMALL)))
    assert torch.equal(clean.messages[2:], attacked.messages[2:])
    assert not attacked.messages[:2].any()


def test_an_attack_that_behaves_changes_nothing():
    clean, control = Scenario(**SMALL), Scenario(malicious=0.5, attack=honest, **SMALL)
    assert torch.equal(list(rounds(clean))[-1].after, list(rounds(control))[-1].after)


def test_fedsgd_is_one_step_on_the_pooled_data():
    """Full batches and sample-count weights: averaging updates is a gradient step on everybody's data."""
    s = Scenario(clients=7, rounds=1, local_steps=1, batch_size=None, alpha=0.5, lr=0.2, aggregate=robust.weighted_mean)
    result = next(rounds(s))
    everything = torch.arange(len(s.data.y))[None, None]
    pooled = local_updates(s.network(), result.before, s.data.x, s.data.y, everything, lr=s.lr)[0]
    assert torch.allclose(result.after - result.before, pooled, atol=1e-6)


def test_server_learning_rate_scales_the_step():
    one, half = (next(rounds(Scenario(server_lr=factor, **SMALL))) for factor in (1.0, 0.5))
    assert torch.allclose((one.after - one.before) / 2, half.after - half.before, atol=1e-7)


def test_the_attacker_sees_what_the_scenario_grants():
    seen = []

    def spy(view):
        seen.append(view)
        return view.own

    next(rounds(Scenario(malicious=0.5, attack=spy, **SMALL)))
    next(rounds(Scenario(malicious=0.5, attack=spy, omniscient=True, public_rule=True, **SMALL)))
    blind, knowing = seen
    assert blind.others is None
    assert blind.rule is None
    assert blind.own.shape == (3, 4810)
    digits = data.load("digits")
    held = torch.cat(data_shards(3))
    assert torch.equal(blind.x, digits.x[held])
    assert torch.equal(blind.y, digits.y[held])
    assert knowing.others.shape == (3, 4810)
    rows = torch.cat([knowing.own, knowing.others])
    assert torch.allclose(knowing.rule(rows), rows.mean(dim=0))


def data_shards(count):
    population = Population(Scenario(**SMALL))
    return [shard[shard >= 0] for shard in population.shards[:count]]


def test_trying_the_rule_does_not_change_what_it_remembers():
    class Counting:
        def __init__(self):
            self.calls = 0

        def __call__(self, updates):
            self.calls += 1
            return updates.mean(dim=0) * self.calls

    def curious(view):
        for _ in range(5):
            view.rule(view.own)
        return view.own

    rule = Counting()
    s = Scenario(malicious=0.5, attack=curious, public_rule=True, aggregate=rule, **SMALL)
    trying = list(rounds(s))[-1].after
    quiet = list(rounds(replace(s, attack=honest)))[-1].after
    assert torch.equal(trying, quiet)
    assert rule.calls == 0, "the scenario's own rule must stay as it was"


def test_stages_run_where_they_stand():
    def tenth(updates):
        return updates / 10

    plain = next(rounds(Scenario(malicious=0.5, attack=honest, **SMALL))).messages
    by_client = next(rounds(Scenario(malicious=0.5, attack=honest, client_stages=(tenth,), **SMALL))).messages
    assert torch.equal(by_client[:3], plain[:3]), "a malicious client does not run the defence"
    assert torch.allclose(by_client[3:], plain[3:] / 10)
    at_server = next(rounds(Scenario(malicious=0.5, attack=honest, server_stages=(tenth,), **SMALL)))
    assert torch.equal(at_server.messages, plain), "messages are what arrived"
    whole = next(rounds(Scenario(malicious=0.5, attack=honest, **SMALL)))
    assert torch.allclose(at_server.after - at_server.before, (whole.after - whole.before) / 10, atol=1e-6)


def test_the_engine_fills_generator_weights_and_clients():
    got = {}

    def stage(updates, *, generator, weights, clients):
        got[len(got)] = (torch.rand(1, generator=generator).item(), weights.tolist(), clients.tolist())
        return updates

    def attack(view, *, generator, clients):
        assert clients.tolist() == [0, 1, 2]
        return torch.randn(view.own.shape, generator=generator)

    s = Scenario(malicious=0.5, attack=attack, client_stages=(stage,), server_stages=(stage,), **{**SMALL, "rounds": 1})
    next(rounds(s))
    sizes = [len(shard) for shard in data_shards(6)]
    rehearsal, by_client, by_server = got[0], got[1], got[2]
    assert rehearsal[2] == by_server[2] == list(range(6))
    assert by_client[1:] == (sizes, list(range(6))), "who draws, draws for everybody"
    assert by_server[1] == sizes
    assert by_client[0] != by_server[0], "two places never share a stream"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_client_that_sends_nonsense_is_excluded_and_recorded(bad):
    def nonsense(view):
        forged = view.own.clone()
        forged[0, 7] = bad
        return forged

    s = Scenario(malicious=0.3, attack=nonsense, **SMALL)
    results = list(rounds(s))
    assert all(r.excluded == (0,) for r in results)
    assert all(r.clients.tolist() == [1, 2, 3, 4, 5] for r in results)
    assert all(r.after.isfinite().all() for r in results)
    assert run(s).frame()["excluded"].tolist() == [1, 1, 1]


def test_a_round_without_a_finite_message_is_skipped():
    def nonsense(view):
        return view.own * float("nan")

    result = next(rounds(Scenario(malicious=1.0, attack=nonsense, **SMALL)))
    assert result.skipped == "no finite message arrived"
    assert torch.equal(result.before, result.after)


def test_a_rule_that_exclusion_makes_impossible_skips_the_round():
    def nonsense(view):
        return view.own * float("nan")

    s = Scenario(malicious=0.5, attack=nonsense, aggregate=bind(robust.trimmed_mean, f=2), **SMALL)
    frame = run(s).frame()
    assert frame["skipped"].tolist() == ["trimmed_mean needs 0 <= 2f < clients; got f=2, clients=3"] * 3


def test_a_rule_that_is_impossible_from_the_start_raises_before_the_first_round():
    with pytest.raises(ImpossibleRule, match="got f=3, clients=6"):
        next(rounds(Scenario(aggregate=bind(robust.trimmed_mean, f=3), **SMALL)))


def test_a_result_that_overflows_skips_the_round():
    def huge(view):
        return torch.full_like(view.own, 3e38)

    def plain_sum(updates):
        return updates.sum(dim=0)

    result = next(rounds(Scenario(malicious=0.5, attack=huge, aggregate=plain_sum, **SMALL)))
    assert "returned a NaN or an infinity" in result.skipped
    assert torch.equal(result.before, result.after)


def in_place(updates):
    updates[0] += 1
    return updates.mean(dim=0)


def wrong_width(updates):
    return updates[:, :-1]


def a_list(updates):
    return updates.tolist()


def whole_matrix(updates):
    return updates


def a_mask(updates):
    return updates.norm(dim=1) < 1


def with_graph(updates):
    return updates.mean(dim=0) * torch.ones((), requires_grad=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregate": in_place}, "rule in_place changed its input in place"),
        ({"aggregate": whole_matrix}, r"rule whole_matrix must return one update \[dim\]; got shape \[6, 4810\]"),
        ({"aggregate": lambda u: u.double().mean(dim=0)}, "must return torch.float32 on cpu; got torch.float64 on cpu"),
        ({"aggregate": a_list}, "rule a_list must return a floating-point tensor; got list"),
        ({"aggregate": a_mask}, r"rule a_mask must return a floating-point tensor; got torch.bool of shape \[6\]"),
        (
            {"aggregate": with_graph},
            r"rule with_graph must return numbers without a gradient graph: detach\(\) the result",
        ),
        ({"server_stages": (lambda u: u[0] > 0,)}, r"must return a mask \[6\]; got shape \[4810\]"),
        ({"train": lambda model, params, x, y, b, *, lr, chunk: params}, r"must return \[clients, dim\] = \[6, 4810\]"),
        ({"broadcast": lambda params: params.expand(2, -1)}, r"must return \[dim\] or \[6, dim\]; got \[2, 4810\]"),
        ({"client_stages": (lambda u, *, generator: u[:1],)}, "must keep one row for each of 6 clients; got 1"),
        (
            {"server_stages": (wrong_width,)},
            r"server stage 0, wrong_width must return 4810 numbers a row; got shape \[6, 4809\]",
        ),
        ({"client_stages": (lambda u: u[:1],)}, "must keep one row for each of 6 clients; got 1"),
        (
            {"malicious": 0.5, "attack": lambda v: v.own[:1]},
            r"must return \[malicious, dim\] = \[3, 4810\]; got \[1, 4810\]",
        ),
        ({"malicious": 0.5, "attack": lambda v: v.own.mul_(2)}, "changed its input in place"),
        ({"malicious": 0.5, "omniscient": True, "attack": lambda v: v.own + 0 * v.others.mul_(2)}, "changed its input"),
        ({"wire": lambda u: u.mean(dim=0)}, r"must return \[1 … 6, dim\]"),
    ],
)
def test_a_part_that_breaks_its_contract_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        next(rounds(Scenario(**{**SMALL, **changes})))


def test_a_secure_sum_sends_one_dense_row():
    def secure_mean(updates, *, weights):
        return (weights / weights.sum() @ updates)[None]

    plain, summed = (
        next(rounds(Scenario(aggregate=robust.weighted_mean, **SMALL))),
        next(rounds(Scenario(wire=secure_mean, aggregate=robust.median, **SMALL))),
    )
    assert summed.messages.shape == (1, 4810)
    assert summed.clients.tolist() == [-1]
    assert summed.bytes_up == 6 * 4 * 4810
    assert torch.allclose(summed.after, plain.after, atol=1e-6)


def test_bytes_follow_the_compression():
    dense, sparse = (next(rounds(Scenario(wire=bind(compress.top_k, keep=keep), **SMALL))) for keep in (1.0, 0.1))
    positions = 4 + math.ceil((481 + 601) / 8) + math.ceil(3 * 481 / 8)  # tests/test_encoding.py
    assert sparse.bytes_up == 6 * (8 + positions + 4 * 481)
    assert dense.bytes_up <= 6 * (8 + 4 * 4810)
    assert dense.bytes_down == sparse.bytes_down == 6 * 4810 * 4


def test_a_part_that_sums_is_told_its_fixed_divisor_and_nothing_is_scaled_for_it():
    def total(updates, *, expected):
        return updates.sum(dim=0) / expected

    s = Scenario(clients=40, rounds=12, local_steps=1, participation=0.25)
    summed = list(rounds(replace(s, aggregate=total)))
    counts = [result.participants for result in summed]
    assert len(set(counts)) > 2
    assert 5 < sum(counts) / 12 < 15
    for result in summed:
        assert torch.allclose(result.after - result.before, result.messages.sum(dim=0) / 10, atol=1e-6)
    for result in rounds(replace(s, aggregate=robust.median)):
        assert torch.allclose(result.after - result.before, robust.median(result.messages), atol=1e-6)


def test_a_cohorts_sum_is_divided_by_its_size():
    got = []

    def total(updates, *, expected):
        got.append(expected)
        return updates.sum(dim=0) / expected

    next(rounds(Scenario(clients=40, rounds=1, local_steps=1, cohort=7, aggregate=total)))
    assert set(got) == {7.0}


def test_a_cohort_has_its_exact_size_and_no_fixed_order():
    results = list(rounds(Scenario(clients=40, rounds=4, local_steps=1, cohort=7)))
    assert [len(r.clients) for r in results] == [7] * 4
    assert len({tuple(r.clients.tolist()) for r in results}) == 4
    first = results[0]
    assert torch.allclose(first.after - first.before, first.messages.mean(dim=0), atol=1e-6)


def test_a_round_without_anybody_changes_nothing_but_still_carries_the_noise():
    s = Scenario(clients=2, rounds=30, local_steps=1, participation=0.05)
    empty = [r for r in rounds(s) if not r.participants]
    assert empty
    assert all(torch.equal(r.before, r.after) and r.bytes_up == 0 for r in empty)
    assert {r.skipped for r in empty} == {"no finite message arrived"}
    private = replace(s, aggregate=bind(privacy.noisy_mean, clip=1e-9, noise=1e9))
    for r in rounds(private):
        assert float((r.after - r.before).std()) == pytest.approx(1 / 0.1, rel=0.05), "nobody can tell that nobody came"


def test_a_secure_sum_may_divide_by_the_fixed_divisor():
    def secure_sum(updates, *, expected):
        return updates.sum(dim=0, keepdim=True) / expected

    s = Scenario(clients=40, rounds=1, local_steps=1, participation=0.25)
    summed = next(rounds(replace(s, wire=secure_sum)))
    expected = next(rounds(s)).messages.sum(dim=0) / 10
    assert torch.allclose(summed.after - summed.before, expected, atol=1e-6)
    assert summed.row()["participants"] == summed.participants > 1


def test_weights_are_the_sample_counts_of_those_who_came():
    s = Scenario(clients=30, rounds=5, local_steps=1, participation=0.3, alpha=0.3, aggregate=robust.weighted_mean)
    sizes = Population(s).sizes
    for result in rounds(s):
        own = sizes[result.clients].float()
        assert torch.allclose(result.after - result.before, own / own.sum() @ result.messages, atol=1e-6)


def test_a_mask_keeps_names_and_sample_counts_with_the_rows():
    seen = {}

    def drop_even(updates, *, clients):
        return clients % 2 == 1

    def weigh(updates, *, weights, clients):
        seen.update(clients=clients.tolist(), weights=weights.tolist())
        return weights / weights.sum() @ updates

    s = Scenario(**SMALL, alpha=0.3, server_stages=[drop_even], aggregate=weigh)
    result = next(rounds(s))
    sizes = Population(s).sizes
    assert seen == {"clients": [1, 3, 5], "weights": sizes[[1, 3, 5]].tolist()}
    own = sizes[[1, 3, 5]].float()
    assert torch.allclose(result.after - result.before, own / own.sum() @ result.messages[[1, 3, 5]], atol=1e-6)


def test_a_stage_that_leaves_nobody_skips_the_round_and_says_so():
    def nobody(updates, *, round):
        return torch.full((len(updates),), round != 1)

    frame = run(Scenario(server_stages=[nobody], **SMALL)).frame()
    assert frame["skipped"].tolist() == ["", "server stage 0, nobody leaves nobody", ""]


@pytest.mark.parametrize("place", ["client_stages", "server_stages"])
def test_a_stage_whose_rows_are_not_finite_is_named_and_ends_nothing(place):
    def broken(updates, *, round):
        return updates / 0 if round == 1 else updates

    results = list(rounds(Scenario(**SMALL, **{place: [broken]})))
    name = place.removesuffix("s").replace("_", " ")
    assert [r.skipped for r in results] == ["", f"{name} 0, broken returned a NaN or an infinity", ""]
    assert torch.equal(results[1].before, results[1].after)


def test_every_attack_rests_once_no_honest_update_is_finite():
    def explode(params):
        return params * torch.nan

    for attack in (poison.min_max, poison.alie, bind(poison.sign_flip, scale=3)):
        s = Scenario(**SMALL, malicious=0.3, attack=attack, omniscient=True, broadcast=explode)
        result = next(rounds(s))
        assert result.resting == "the model has blown up: no honest update is finite any more"


def test_an_attack_learns_from_finite_messages_only():
    seen = []

    def spy(view):
        seen.append(view.others.clone())
        return view.own

    def one_breaks(updates, *, clients):
        return torch.where((clients == 4)[:, None], torch.inf, 1.0) * updates

    next(rounds(Scenario(**SMALL, malicious=0.3, attack=spy, omniscient=True, client_stages=[one_breaks])))
    assert seen[0].shape == (3, 4810)
    assert seen[0].isfinite().all()


CLIENT_STAGES = [
    bind(privacy.clip, bound=0.1),
    bind(privacy.gaussian_noise, std=1.0),
    bind(privacy.local_noise, clip=0.1, noise=1.0),
    bind(privacy.distributed_noise, clip=0.1, noise=1.0, senders=6),
    bind(compress.top_k, keep=0.1),
    bind(compress.random_k, keep=0.1),
    bind(compress.qsgd, bits=3),
    compress.sign,
    bind(compress.sfsq, bound=0.1, flip=0.2),
    bind(robust.norm_clip, bound=0.1),
]


@pytest.mark.parametrize("stage", CLIENT_STAGES, ids=part_in_words)
def test_a_client_stage_gives_a_client_the_same_row_whoever_else_was_drawn(stage):
    s = Scenario(clients=12, rounds=1, local_steps=1, client_stages=[stage])
    everybody = next(rounds(s)).messages
    some = next(rounds(replace(s, participation=0.5)))
    assert 1 < some.participants < 12
    assert torch.equal(some.messages, everybody[some.clients])


def test_parts_are_offered_the_model_and_the_round():
    got = []

    def rule(updates, *, params, round):
        got.append((round, params.clone()))
        return updates.mean(dim=0)

    results = list(rounds(Scenario(**SMALL, aggregate=rule)))
    assert [number for number, _ in got] == [-1, 0, 1, 2], "the rehearsal comes first"
    assert all(torch.equal(params, r.before) for (_, params), r in zip(got[1:], results, strict=True))


def test_notes_are_kept_with_round_and_place_but_not_of_rehearsals_trials_and_copies():
    class Watching:
        kept = None

        def __call__(self, updates, *, clients, note):
            self.kept = note
            note(client=int(clients[0]), score=updates.norm(dim=1).max(), verdict="fine")
            return updates

    class Leaking(Watching):
        def __call__(self, updates, *, note):
            if self.kept is not None:
                copy.deepcopy(self.kept)(client=99)
            return super().__call__(updates, clients=torch.zeros(1), note=note)

    def curious(view):
        view.rule(torch.cat([view.own, view.others]))
        return view.own

    s = Scenario(**SMALL, malicious=0.5, attack=curious, public_rule=True, omniscient=True)
    s = replace(s, server_stages=[Watching(), Leaking()])
    history = run(s)
    assert [(n["round"], n["place"]) for n in history.notes] == [
        (number, f"server stage {i}, {name}") for number in range(3) for i, name in enumerate(("Watching", "Leaking"))
    ]
    assert {note["client"] for note in history.notes} == {0}
    assert isinstance(history.notes[0]["score"], float)


def test_a_note_that_is_kept_for_a_later_round_says_so():
    kept = []

    def stage(updates, *, note):
        kept.append(note)
        kept[0](score=1.0)
        return updates

    with pytest.raises(ValueError, match="this note belongs to round -1; ask for `note` in each call"):
        list(rounds(Scenario(server_stages=[stage], **SMALL)))


@pytest.mark.parametrize(
    ("record", "message"),
    [({"round": 3}, "note fills round itself"), ({"who": [1, 2]}, "a note holds numbers and texts; got who=list")],
)
def test_a_note_that_nobody_could_read_is_refused(record, message):
    def stage(updates, *, note):
        note(**record)
        return updates

    with pytest.raises(ValueError, match=message):
        next(rounds(Scenario(server_stages=[stage], **SMALL)))


def test_a_trial_of_the_rule_runs_under_the_real_identities_and_sample_counts():
    seen = []

    def rule(updates, *, clients, weights):
        seen.append((clients.tolist(), weights.tolist()))
        return updates.mean(dim=0)

    def curious(view):
        view.rule(torch.cat([view.own, view.others]))
        return view.own

    s = Scenario(clients=20, rounds=1, participation=0.4, malicious=0.5, alpha=1.0, attack=curious, aggregate=rule)
    next(rounds(replace(s, public_rule=True, omniscient=True)))
    _, tried, real = seen
    assert tried == real
    assert tried[0] != list(range(len(tried[0])))


def test_the_attackers_train_with_the_scenarios_own_training():
    seen = {}

    def busy(view):
        x, y = view.x[:40], view.y[:40]
        seen["plain"] = view.train(x, y)
        seen["again"] = view.train(x, y)
        seen["longer"] = view.train(x, y, steps=9, lr=0.5)
        seen["elsewhere"] = view.train(x, y, start=torch.zeros(4810))
        seen["view"] = view
        return view.own

    def half(*arguments, lr, chunk):
        return local_updates(*arguments, lr=lr, chunk=chunk) / 2

    s = Scenario(**SMALL, malicious=0.5, attack=busy)
    next(rounds(s))
    view, plain = seen["view"], seen["plain"]
    assert (view.clients.tolist(), view.lr, view.local_steps, view.batch_size) == ([0, 1, 2], 0.3, 1, 8)
    assert plain.shape == (3, 4810)
    assert torch.equal(plain, seen["again"])
    assert not torch.equal(plain[0], plain[1]), "each attacker draws for itself"
    assert seen["longer"].norm() > plain.norm()
    assert not torch.allclose(seen["elsewhere"], plain)
    next(rounds(replace(s, train=half)))
    assert torch.allclose(seen["plain"], plain / 2)


def test_a_clients_update_is_measured_from_what_it_received():
    def shifted(params, *, clients):
        return params + clients[:, None]

    got = {}

    def spy(view):
        got["params"] = view.params
        return view.own

    def rule(updates, *, params):
        got["offered"] = params
        return updates.mean(dim=0)

    s = Scenario(**SMALL, broadcast=shifted, malicious=0.3, attack=spy, aggregate=rule)
    first = next(rounds(s))
    x, y, drawn = s.data.x, s.data.y, Population(s).batches(0, torch.arange(6))
    for client in range(6):
        start = first.before + client
        own = local_updates(s.network(), start, x, y, drawn[client, None], lr=s.lr)[0]
        assert torch.allclose(first.messages[client], own, atol=1e-6)
    assert torch.equal(got["params"], first.before + torch.arange(2)[:, None])
    assert torch.equal(got["offered"], first.before), "the server's parts see the server's model"


def test_probes_are_measured_with_accuracy_and_kept():
    s = Scenario(**SMALL, evaluate_every=2, probes={"length": lambda model, params: params.norm()})
    history = run(s)
    assert history.column("length")[0] is None
    last = list(rounds(s))[-1].after
    assert history.measured("length")[-1] == pytest.approx(float(last.norm()))
    assert history.frame()["length"].notna().tolist() == [False, True, True]
    with pytest.raises(ValueError, match="has not measured 'width'"):
        history.measured("width")


def test_the_attackers_share_of_clients_and_of_samples():
    held = [[0], [1, 2, 3], list(range(4, 10)), [10, 11]]
    s = Scenario(clients=4, rounds=2, malicious=0.5, attack=honest, shards=held)
    history = run(s)
    assert history.attackers_of_clients == pytest.approx(2 / 4)
    assert history.attackers_of_samples == pytest.approx(4 / 12)


def test_where_nobody_attacks_the_attackers_have_no_share():
    result = next(rounds(Scenario(**SMALL)))
    assert result.attackers == (0.0, 0.0)
    few = rounds(Scenario(clients=2, rounds=30, local_steps=1, participation=0.05, malicious=0.5, attack=honest))
    assert {r.attackers for r in few if not r.participants} == {(0.0, 0.0)}, "nor where nobody came"


def test_a_history_is_shown_with_what_was_sent_in_megabytes():
    history = run(Scenario(**SMALL))
    sent = sum(history.column("bytes_up")) / 1e6
    assert 0.5 < sent / (3 * 6 * 4 * 4810 / 1e6) < 1  # rounds, clients, bytes of a number, numbers; zeros are left out
    shown = f"History(3 rounds, final accuracy {history.final_accuracy:.3f}, "
    assert repr(history).startswith(shown)
    assert float(repr(history).removeprefix(shown).removesuffix(" MB sent)")) == pytest.approx(sent, abs=0.006)


@pytest.mark.parametrize("trick", [lambda u: u.numpy().sort(axis=0), lambda u: u.data.mul_(2), lambda u: u.sub_(1)])
def test_a_change_in_place_is_told_also_through_numpy_and_data(trick):
    def sly(updates):
        trick(updates)
        return updates.mean(dim=0)

    with pytest.raises(ValueError, match="rule sly changed its input in place"):
        next(rounds(Scenario(aggregate=sly, **SMALL)))

    def attack(view):
        trick(view.own)
        return view.own

    with pytest.raises(ValueError, match="attack attack changed its input in place"):
        next(rounds(Scenario(malicious=0.5, attack=attack, **SMALL)))


def test_honest_noise_does_not_change_with_an_attack():
    noisy = (bind(privacy.gaussian_noise, std=0.1),)
    clean = next(rounds(Scenario(client_stages=noisy, **SMALL)))
    attacked = next(rounds(Scenario(client_stages=noisy, malicious=0.5, attack=honest, **SMALL)))
    assert torch.equal(clean.messages[3:], attacked.messages[3:])
    assert not torch.equal(clean.messages[:3], attacked.messages[:3]), "attackers do not run the defence"


def test_the_attacker_cannot_foresee_the_servers_noise():
    tried = []

    def probe(view):
        tried.append(view.rule(torch.zeros_like(view.own)))
        return view.own

    rule = bind(privacy.noisy_mean, clip=1e-9, noise=1e6)
    s = Scenario(malicious=0.5, attack=probe, public_rule=True, aggregate=rule, **SMALL)
    r = next(rounds(s))
    assert abs(float(torch.corrcoef(torch.stack([tried[0], r.after - r.before]))[0, 1])) < 0.1


def test_an_attack_that_some_cohorts_do_not_allow_rests_and_says_so():
    s = Scenario(clients=6, rounds=20, local_steps=1, participation=0.3, malicious=0.3, attack=poison.min_max)
    frame = run(replace(s, omniscient=True)).frame()
    resting = frame[frame["resting"] != ""]
    assert 0 < len(resting) < 20
    assert resting["resting"].str.contains("needs at least 2 honest updates").all()
    with pytest.raises(ValueError, match="needs at least 2 honest updates"):
        next(rounds(Scenario(malicious=1 / 6, attack=poison.min_max, **SMALL)))


def test_batches_change_from_round_to_round_and_belong_to_their_client():
    population = Population(Scenario(**SMALL))
    everybody = population.batches(0, torch.arange(6))
    assert not torch.equal(everybody, population.batches(1, torch.arange(6)))
    assert torch.equal(population.batches(0, torch.tensor([3]))[0], everybody[3])


def test_what_an_attack_is_shown_cannot_be_changed_by_it():
    def vandal(view):
        view.x.zero_()
        return view.own

    with pytest.raises(ValueError, match="attack vandal changed its input in place"):
        next(rounds(Scenario(malicious=0.5, attack=vandal, **SMALL)))

    def greedy(view, *, clients):
        clients += 100
        return view.own

    assert next(rounds(Scenario(malicious=0.5, attack=greedy, **SMALL))).clients.tolist() == list(range(6))


def test_a_data_attack_touches_malicious_shards_only():
    seen = []

    def to_zero(x, y, classes, *, client, generator):
        seen.append((client, len(y), classes, torch.rand(1, generator=generator).item()))
        return x, torch.zeros_like(y)

    s = Scenario(malicious=0.5, data_attack=to_zero, alpha=1.0, **SMALL)
    population = Population(s)
    assert [each[:3] for each in seen] == [(i, n, 10) for i, n in enumerate(population.sizes[:3].tolist())]
    assert len({draw for *_, draw in seen}) == 3, "each data attacker draws for itself"
    for client, shard in enumerate(population.shards):
        labels = population.y[shard[shard >= 0]]
        assert (labels.sum() == 0) == (client < 3)
    assert len(s.data.y) == 1438
    assert population.attackers_y.sum() > 0, "the view shows what the attackers really hold"


def test_chunks_do_not_change_the_result():
    whole, parts = (next(rounds(Scenario(chunk=c, **SMALL))).after for c in (None, 2))
    assert torch.allclose(whole, parts, atol=1e-7)


def test_evaluation_can_be_rare():
    frame = run(Scenario(**{**SMALL, "rounds": 5}, evaluate_every=2)).frame()
    assert frame["accuracy"].notna().tolist() == [False, True, False, True, True]


def test_other_data_and_models_go_the_same_way():
    table = data.load("breast_cancer")
    assert run(Scenario(data=table, clients=5, rounds=20)).final_accuracy > 0.85
    linear = mlp(table.shape, 2, hidden=())
    assert run(Scenario(data=table, model=linear, clients=5, rounds=20)).final_accuracy > 0.85


def test_the_scenario_keeps_no_trace_of_a_run():
    class Remembering:
        seen = 0

        def __call__(self, updates):
            self.seen += 1
            return updates.mean(dim=0)

    rule = Remembering()
    s = Scenario(aggregate=rule, **SMALL)
    before = copy.copy(rule.__dict__)
    run(s)
    assert rule.__dict__ == before


def test_accuracy_is_that_of_the_test_part():
    result = next(rounds(Scenario(**SMALL)))
    s = Scenario(**SMALL)
    model = s.network()
    for part, said in ((s.data.x_test, True), (s.data.x, False)):
        labels = s.data.y_test if said else s.data.y
        right = model(result.after[None], part[None])[0].argmax(dim=1) == labels
        assert (float(right.double().mean()) == pytest.approx(result.metrics["accuracy"])) == said


def test_a_data_poisoner_does_not_run_the_honest_clients_stages():
    def tenth(updates):
        return updates / 10

    s = Scenario(malicious=0.5, data_attack=poison.label_flip, **SMALL)
    first = next(rounds(s))
    population = Population(s)
    batches = population.batches(0, torch.arange(6))
    plain = local_updates(s.network(), first.before, population.x, population.y, batches, lr=s.lr)
    assert torch.equal(first.messages, plain)
    protected = next(rounds(replace(s, client_stages=[tenth]))).messages
    assert torch.equal(protected[:3], plain[:3])
    assert torch.allclose(protected[3:], plain[3:] / 10)


def test_the_model_is_sent_to_those_who_take_part():
    for result in rounds(Scenario(clients=20, rounds=3, local_steps=1, participation=0.5)):
        assert result.bytes_down == 4 * 4810 * result.participants < 4 * 4810 * 20


def test_merged_rows_share_the_samples_evenly():
    seen = {}

    def halves(updates):
        return torch.stack([updates[:3].mean(dim=0), updates[3:].mean(dim=0)])

    def rule(updates, *, weights, clients):
        seen.update(weights=weights.tolist(), clients=clients.tolist())
        return updates.mean(dim=0)

    s = Scenario(**SMALL, server_stages=[halves], aggregate=rule)
    next(rounds(s))
    assert seen == {"weights": [1438 // 2] * 2, "clients": [-1, -1]}


def test_a_mask_on_the_rehearsals_noise_stops_no_run():
    def short_ones_and_the_first(updates):
        is_short = updates.norm(dim=1) < 5  # updates are, and noise in 4,810 dimensions is not
        return is_short | (torch.arange(len(updates)) == 0)

    s = Scenario(**SMALL, server_stages=[short_ones_and_the_first], aggregate=bind(robust.trimmed_mean, f=2))
    assert next(rounds(s)).skipped == ""


def test_trying_the_rule_does_not_change_what_a_stage_remembers():
    class Fading:
        def __init__(self):
            self.calls = 0

        def __call__(self, updates):
            self.calls += 1
            return updates / self.calls

    def curious(view):
        for _ in range(5):
            view.rule(view.own)
        return view.own

    s = Scenario(malicious=0.5, attack=curious, public_rule=True, server_stages=[Fading()], **SMALL)
    assert torch.equal(list(rounds(s))[-1].after, list(rounds(replace(s, attack=honest)))[-1].after)


def test_attackers_without_batches_train_on_all_of_their_choice():
    seen = {}

    def busy(view):
        seen["update"] = view.train(view.x[:30], view.y[:30])
        seen["view"] = view
        return view.own

    next(rounds(Scenario(malicious=0.5, attack=busy, clients=6, rounds=1, local_steps=1, batch_size=None)))
    view = seen["view"]
    everything = torch.arange(30)[None, None]
    by_hand = local_updates(view.model, view.params, view.x[:30], view.y[:30], everything, lr=view.lr)
    assert torch.allclose(seen["update"], by_hand.expand(3, -1), atol=1e-6)
