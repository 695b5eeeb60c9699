"""What labs need to say, said as a learner would: each in a few lines, through the scenario and nothing else."""

from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from labsec import Scenario, bind, data, metrics, poison, robust, rounds, run
from labsec.geometry import clip_rows
from labsec.models import mlp
from labsec.train import local_updates

DIGITS = data.load("digits")
BASE = Scenario.fedavg(rounds=8)


@cache
def clean():
    return run(BASE)


# --- how clients train


def dp_sgd(model, params, x, y, batches, *, lr, chunk, clip, noise, generator):
    start = params.expand(len(batches), -1)
    here = start
    for batch in batches.unbind(1):  # [clients, batch]
        clients, size = batch.shape
        alone = batch.reshape(-1, 1, 1)  # every sample is a client of its own, for one step
        gradients = -local_updates(model, here.repeat_interleave(size, 0), x, y, alone, lr=1.0, chunk=chunk)
        total = clip_rows(gradients, clip).view(clients, size, -1).sum(1)
        total = total + noise * clip * torch.randn(total.shape, generator=generator)
        here = here - lr / size * total
    return here - start


def test_dp_sgd_is_a_training():
    neutral = run(replace(BASE, train=bind(dp_sgd, clip=1e9, noise=0.0)))
    assert neutral.accuracy == pytest.approx(clean().accuracy, abs=0.01)
    clipped, noisy = (run(replace(BASE, train=bind(dp_sgd, clip=1.0, noise=n))).final_accuracy for n in (0.0, 3.0))
    assert 0.2 < noisy < clipped < neutral.final_accuracy


# --- backdoors


def stamped(x):
    x = x.clone()
    x[..., -2:, -2:] = 1
    return x


def success(model, params):
    others = DIGITS.x_test[DIGITS.y_test != 0]
    return metrics.accuracy(model, params, stamped(others), torch.zeros(len(others)).long())


def replacement(view, *, boost, at):
    half = len(view.y) // 2
    x = torch.cat([stamped(view.x[:half]), view.x[half:]])
    y = torch.cat([torch.zeros(half).long(), view.y[half:]])
    return boost * view.train(x, y, steps=10) if view.round == at else view.own


def test_a_single_shot_backdoor_and_its_success_in_every_round():
    attack = bind(replacement, boost=30, at=4)
    history = run(replace(BASE, malicious=1 / 30, attack=attack, probes={"backdoor": success}))
    doors = history.frame().backdoor
    assert doors[:4].max() < 0.2
    assert doors[4] > 0.9
    assert doors[7] < doors[4], "honest rounds wear it down"


# --- the server that looks


class Quarantine:
    """Isolates who sends more than `factor` median norms, for `probation` rounds."""

    def __init__(self, *, factor, probation):
        self.factor, self.probation, self.until = factor, probation, {}

    def __call__(self, updates, *, clients, round, note):
        norms = updates.norm(dim=1)
        limit = self.factor * norms.quantile(0.5)
        for client, norm in zip(clients.tolist(), norms, strict=True):
            if norm > limit and self.until.get(client, 0) <= round:
                self.until[client] = round + self.probation
                note(client=client, score=norm, threshold=limit, action="isolated")
        return torch.tensor([self.until.get(client, 0) <= round for client in clients.tolist()])


LOUD = replace(BASE, malicious=0.2, attack=bind(poison.sign_flip, scale=20))


def test_a_quarantine_remembers_releases_and_writes_notes():
    s = replace(LOUD, server_stages=[Quarantine(factor=3.0, probation=3)])
    history = run(s)
    assert history.final_accuracy > 0.85 > 0.5 > run(LOUD).final_accuracy
    first = [note["client"] for note in history.notes if note["round"] == 0]
    assert first == [0, 1, 2, 3, 4, 5]
    assert [note["round"] for note in history.notes if note["client"] == 0] == [0, 3, 6], "isolated again once released"
    assert history.notes[0]["place"] == "server stage 0, Quarantine"
    assert history.notes[0]["score"] > history.notes[0]["threshold"]


def norm_alarm(updates, *, factor):
    return updates.norm(dim=1) > factor * updates.norm(dim=1).quantile(0.5)


def test_the_alarm_of_exercise_2_8_is_a_defence_in_one_line():
    s = replace(LOUD, server_stages=[lambda updates: ~norm_alarm(updates, factor=2.0)])
    assert run(s).final_accuracy > 0.85


def fltrust(updates, *, params, root, model, lr, steps):
    x, y = root
    own = local_updates(model, params, x, y, torch.arange(len(y)).expand(1, steps, -1), lr=lr)[0]
    trust = F.cosine_similarity(updates, own[None]).clamp_min(0)
    rescaled = updates * (own.norm() / updates.norm(dim=1))[:, None]
    return trust @ rescaled / trust.sum().clamp_min(1e-12)


def test_fltrust_holds_where_the_mean_does_not():
    rule = bind(fltrust, root=(DIGITS.x[:100], DIGITS.y[:100]), model=BASE.network(), lr=0.3, steps=5)
    attacked = replace(BASE, malicious=0.4, attack=bind(poison.sign_flip, scale=10))
    assert run(replace(attacked, aggregate=rule)).final_accuracy > 0.8 > 0.5 > run(attacked).final_accuracy


# --- the wire, and a server that lies


def test_a_mask_from_a_wire_or_a_client_stage_is_refused():
    def bad(updates):
        return updates.norm(dim=1) < 1

    for place in ({"wire": bad}, {"client_stages": [bad]}):
        with pytest.raises(
            ValueError, match=r"bad must return a floating-point tensor; got torch.bool of shape \[30\]"
        ):
            next(rounds(replace(BASE, **place)))


def secure_sum(updates):
    return updates.mean(dim=0, keepdim=True)


def inconsistent(params, *, clients, victim):
    dead = params.clone()
    dead[64 * 64 : 64 * 64 + 64] = -100  # the hidden layer's biases: no neuron answers, no gradient flows below
    return torch.where((clients == victim)[:, None], params, dead)


def test_an_inconsistent_server_reads_one_client_through_a_secure_sum():
    honest = next(rounds(BASE)).messages[3, : 64 * 64]
    (total,) = next(rounds(replace(BASE, broadcast=bind(inconsistent, victim=3), wire=secure_sum))).messages
    assert torch.allclose(30 * total[: 64 * 64], honest, atol=1e-5)


# --- who takes part, and from where


def test_shadow_models_from_different_starts_are_clients():
    model = mlp(DIGITS.shape, 10, hidden=(16,))
    starts = torch.stack([model.init(torch.Generator().manual_seed(seed)) for seed in range(8)])
    half = torch.stack([torch.randperm(1438, generator=torch.Generator().manual_seed(i))[:719] for i in range(8)])
    shadows = starts + local_updates(model, starts, DIGITS.x, DIGITS.y, half[:, None].expand(-1, 30, -1), lr=1.0)
    logits = model(shadows, DIGITS.x.expand(8, -1, -1, -1, -1)).transpose(1, 2)  # [shadows, classes, samples]
    losses = F.cross_entropy(logits, DIGITS.y.expand(8, -1), reduction="none")  # [shadows, samples]
    inside = torch.zeros(8, 1438).scatter_(1, half, 1).bool()
    assert losses[inside].mean() < losses[~inside].mean()


def test_a_run_that_goes_on_from_a_start_is_the_uninterrupted_one():
    whole = list(rounds(BASE))
    rest = list(rounds(replace(BASE, rounds=5, start=whole[2].after, first_round=3)))
    assert [r.number for r in rest] == [3, 4, 5, 6, 7]
    assert torch.equal(rest[-1].after, whole[-1].after)


def test_shards_of_ones_own():
    by_label = [torch.nonzero(DIGITS.y == label)[:, 0].tolist() for label in range(10)]
    s = Scenario(clients=10, shards=by_label, rounds=3, batch_size=None, local_steps=1)
    first = next(rounds(s))
    everything = torch.arange(1438)[None, None]
    pooled = local_updates(s.network(), first.before, DIGITS.x, DIGITS.y, everything, lr=s.lr)[0]
    sizes = torch.tensor([len(shard) for shard in by_label]).float()
    assert torch.allclose(sizes / sizes.sum() @ first.messages, pooled, atol=1e-6)


def test_two_thousand_sybils_without_data_outvote_thirty():
    held = [shard.tolist() for shard in DIGITS.y.argsort(stable=True).tensor_split(30)]

    def refuse(view):
        return -view.others.mean(dim=0).expand_as(view.own)

    s = Scenario(clients=2030, malicious=2000 / 2030, shards=[[]] * 2000 + held, attack=refuse, omniscient=True)
    first = next(rounds(replace(s, rounds=1)))
    assert not first.before.equal(first.after)
    assert first.attackers[0] == pytest.approx(2000 / 2030)
    assert first.attackers[1] == pytest.approx(2000 / 2030, abs=1e-3), "a sybil reports the mean sample count"
    honest = first.messages[2000:].mean(dim=0)
    assert F.cosine_similarity(first.after - first.before, honest, dim=0) < -0.999
    assert run(replace(s, rounds=2, aggregate=robust.median, evaluate_every=2)).final_accuracy < 0.3
