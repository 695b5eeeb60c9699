"""Changes of the source that give a number another meaning, and generated ones that are known to mean nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """One change of one file; its old text occurs there exactly once.

    meaning    what is wrong after the change
    """

    file: str
    old: str
    new: str
    meaning: str


@dataclass(frozen=True)
class Equivalent:
    """A generated change after which every number is the same, or no number is promised.

    text        of the line where the expression begins, as it is in the source
    was, now    the expression before and after, on one line; both "" for every change of the line
    """

    file: str
    text: str
    was: str
    now: str
    reason: str


ENGINE = "labsec/federation/engine.py"
CONTRACT = "labsec/federation/contract.py"
POPULATION = "labsec/federation/population.py"
CATALOGUE = "labsec/study/catalogue.py"
CELLS = "labsec/study/matrix/cells.py"
ADAPTIVE = "labsec/poison/adaptive.py"
CLIPPING = "labsec/robust/clipping.py"
LAB02_RULES = "labsec/course/exercises/lab02/rules.py"

NAMED = (
    # The round
    Change(
        ENGINE,
        "s.data.x_test.to(s.device), s.data.y_test.to(s.device)",
        "s.data.x.to(s.device), s.data.y.to(s.device)",
        "accuracy is measured on the training part",
    ),
    Change(
        ENGINE,
        "        forged = own.updates\n",
        "        forged = protected[:malicious].updates\n",
        "data poisoners run the honest clients' stages",
    ),
    Change(
        ENGINE,
        "            params=model_received,\n",
        "            params=torch.zeros_like(model_received),\n",
        "the attackers see a model of zeros",
    ),
    Change(
        ENGINE,
        "bytes_down=4 * model.dim * len(senders)",
        "bytes_down=4 * model.dim * s.clients",
        "bytes sent to absent clients are counted",
    ),
    Change(ENGINE, "others=others.updates if s.omniscient else None", "others=others.updates", "all are omniscient"),
    Change(ENGINE, "after = params + s.server_lr * step", "after = params + step", "the server's rate is ignored"),
    Change(
        ENGINE,
        "torch.cat([forged, honest.updates])",
        "torch.cat([forged, learned[malicious:].updates])",
        "honest clients skip their stages",
    ),
    Change(
        ENGINE,
        "x=self.population.attackers_x,",
        "x=self.s.data.x,",
        "the attackers see everybody's samples",
    ),
    Change(
        CONTRACT,
        "samples=int(self.weights.sum()) // len(updates)",
        "samples=int(self.weights.sum())",
        "merged rows count all samples each",
    ),
    Change(CONTRACT, '        twin.name = f"trial of {self.name}"\n', "", "the attackers foresee the server's noise"),
    Change(
        POPULATION,
        'generator(s.seed, client, "data attack", device=s.device)',
        'generator(s.seed, "data attack", device=s.device)',
        "every data attacker draws alike",
    ),
    Change(
        POPULATION,
        "        self.attackers_y = dataset.y[held]\n",
        "        self.attackers_y = dataset.classes - 1 - dataset.y[held]\n",
        "the view shows other labels than the attackers hold",
    ),
    # Attacks
    Change("labsec/poison/distances.py", "return -rows.std(dim=0)", "return rows.std(dim=0)", "against_std goes along"),
    Change(
        "labsec/poison/distances.py",
        "return -rows.mean(dim=0).sign()",
        "return rows.mean(dim=0).sign()",
        "against_sign goes along",
    ),
    Change(
        "labsec/poison/statistics.py",
        "around_mean = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()",
        "around_mean = gram",
        "mimic looks for the longest row, not the one farthest out",
    ),
    Change(
        "labsec/poison/statistics.py",
        "rows.mean(dim=0) - z * rows.std(dim=0)",
        "rows.mean(dim=0) - z * rows.var(dim=0)",
        "ALIE counts in variances",
    ),
    Change(ADAPTIVE, "for axis in axes:", "for axis in axes[:1]:", "long steps in one direction only"),
    Change(ADAPTIVE, "for axis in (*axes, *-axes):", "for axis in (*axes[:1], *-axes[:1]):", "they take one axis"),
    Change(ADAPTIVE, "for axis in (*axes, *-axes):", "for axis in axes:", "no small step goes back"),
    Change(ADAPTIVE, "        found.insert(1, against_std(rows))\n", "        pass\n", "one direction is left out"),
    Change(
        ADAPTIVE,
        "torch.cat([message(point), honest])",
        "torch.cat([honest, message(point)])",
        "the trial puts the attackers last",
    ),
    # Rules
    Change("labsec/robust/neighbours.py", "f >= 0 and 2 * f + 2 < n", "f >= 0 and 2 * f + 2 <= n", "one f too many"),
    Change(CLIPPING, "factor: float = 1.0", "factor: float = 10.0", "the clip is at ten times the median norm"),
    Change(CLIPPING, "window: int = 5", "window: int = 50", "the clip remembers fifty rounds"),
    Change(CLIPPING, "return centre.clone()", "return centre", "CenteredClip hands out its memory"),
    Change(
        "labsec/robust/bulyan.py",
        "max(len(left) - f - 2, 1)",
        "max(len(distances) - f - 2, 1)",
        "Bulyan counts neighbours that are gone",
    ),
    Change(
        "labsec/robust/bulyan.py",
        "distances.sum(dim=1).sort(stable=True).indices",
        "distances.sum(dim=1).sort(stable=True, descending=True).indices",
        "of equal scores Bulyan takes the outer one",
    ),
    Change(
        "labsec/robust/diameter.py", "min(found, key=", "max(found, key=", "of equal diameters MDA takes the loosest"
    ),
    Change(
        "labsec/robust/coordinates.py",
        "following - middle < middle - current",
        "following - middle > middle - current",
        "the mean around the median takes the far side",
    ),
    Change(
        "labsec/robust/bucketing.py",
        "torch.randperm(len(rows), generator=generator, device=generator.device)",
        "torch.arange(len(rows), device=generator.device)",
        "buckets are not dealt by lot",
    ),
    Change(
        "labsec/robust/foolsgold.py",
        "(others * pardon).amax(dim=1)",
        "others.amax(dim=1)",
        "FoolsGold pardons nobody",
    ),
    Change(
        "labsec/robust/foolsgold.py",
        "[self._place[client] for client in senders]",
        "[place for place, _ in enumerate(senders)]",
        "FoolsGold remembers places, not names",
    ),
    Change(
        "labsec/robust/reputation.py",
        "self._reputation.get(client, new)",
        "self._reputation.get(client, 1.0)",
        "a newcomer is trusted whatever it sends",
    ),
    Change("labsec/robust/flame.py", "(shortening * kept / kept", "(shortening / kept", "FLAME averages everybody"),
    Change(
        "labsec/robust/root.py",
        "trust = cosines_to(rows, own).clamp_min(0)",
        "trust = cosines_to(rows, own)",
        "FLTrust subtracts who goes the other way",
    ),
    Change(
        "labsec/robust/dnc.py",
        "eigenvectors[:, -1]",
        "eigenvectors[:, 0]",
        "DnC looks along the direction in which all are alike",
    ),
    Change(
        "labsec/robust/fedshield.py",
        "bucketing(rows, size=self.bucket,",
        "bucketing(rows, size=1,",
        "FedShield deals no buckets",
    ),
    Change(
        "labsec/robust/geometric.py",
        "same.sum(dim=1) * (1 - 1e-6)",
        "same.sum(dim=1) * 0.5",
        "a row counts as the median only if it is far more than that",
    ),
    Change(
        "labsec/geometry.py",
        "return bool((typical >= 1e4 * eps * gram.diagonal()).all())",
        "return True",
        "a Gram matrix that rounding has spoilt is taken",
    ),
    # Data
    Change(
        "labsec/data/partition.py",
        "draws.permutation(np.flatnonzero(y == label))",
        "np.flatnonzero(y == label)",
        "Dirichlet shards hold neighbours of the file",
    ),
    # The matrix
    Change(CELLS, "BELIEF = 6\n", "BELIEF = 5\n", "the matrix believes in five attackers"),
    Change(CELLS, "CLIENTS = 30\n", "CLIENTS = 29\n", "the matrix has a client less"),
    Change(CATALOGUE, 'kind="alie", strength=1.5', 'kind="alie", strength=0.5', "ALIE's z is 0.5"),
    Change(CATALOGUE, "norm=1.0 if norm is None else norm", "norm=10.0 if norm is None else norm", "drift is loud"),
    Change(CATALOGUE, "norm=2.0 if norm is None else norm", "norm=20.0 if norm is None else norm", "so is the search"),
    Change(CATALOGUE, 'kind="ipm", strength=0.5', 'kind="ipm", strength=5', "the quiet IPM is loud"),
    Change(CATALOGUE, "std=0.01 * (", "std=0.1 * (", "the noise is ten times what its name says"),
    Change(CATALOGUE, "CenteredClip(radius=0.5)", "CenteredClip(radius=5.0)", "the centred clip hardly clips"),
    Change(
        "labsec/study/matrix/tables.py",
        'frame[(frame["attack"] == "none") & (frame["rule"] == "mean")]',
        'frame[frame["attack"] == "none"]',
        "clean is taken from any rule",
    ),
    # Labs
    Change(
        "labsec/course/panels/lab00.py",
        "std=noise * CLIP / sqrt(CLIENTS)",
        "std=noise * CLIP / CLIENTS",
        "lab 00's noise is divided by n",
    ),
    Change(
        "labsec/course/panels/lab01.py",
        "batch_size=samples)).accuracy",
        "batch_size=16)).accuracy",
        "the pooled baseline sees 16 samples a step",
    ),
    Change(
        "labsec/course/panels/lab02.py",
        "honest = result.messages[result.clients >= malicious]",
        "honest = result.messages",
        "lab 02's crowd is measured by all messages",
    ),
    Change("labsec/course/panels/lab02.py", "ALIE_Z = 1.5", "ALIE_Z = 0.5", "lab 02's ALIE has z = 0.5"),
    Change(
        LAB02_RULES,
        "return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2",
        "return ordered[n // 2]",
        "exercise 2.3's reference is the upper middle",
    ),
    Change(
        LAB02_RULES,
        "return updates.sort(dim=0).values[f : len(updates) - f].mean(dim=0)\n\n\ndef _believed",
        "return updates.sort(dim=0).values[f : len(updates) - f - 1].mean(dim=0)\n\n\ndef _believed",
        "exercise 2.4's reference trims one more above",
    ),
    Change(
        "labsec/course/exercises/lab02/attacks.py",
        "return all_send(view, view.own.mean(dim=0) - z * view.own.std(dim=0))\n\n\ndef _alie_with_all",
        "return all_send(view, view.own.mean(dim=0) + z * view.own.std(dim=0))\n\n\ndef _alie_with_all",
        "exercise 2.6's reference goes along",
    ),
    # Checks and cards
    Change(
        "labsec/course/compare.py",
        "equal_nan=True",
        "equal_nan=False",
        "a NaN that is right counts as wrong",
    ),
    Change(
        "labsec/course/progress_file.py",
        'if not key.startswith(f"{lab}.")}',
        "if False}",
        "forgetting one lab clears all",
    ),
    Change(
        "labsec/course/live/markup.py",
        'html.escape(f"{type(error).__name__}: {error}")',
        'f"{type(error).__name__}: {error}"',
        "an alarm's text is not escaped",
    ),
    Change("labsec/course/live/markup.py", "<pre>{html.escape(trace)}</pre>", "<pre>{trace}</pre>", "nor is its trace"),
)

LOSSES = "labsec/privacy/losses.py"

EQUIVALENT: tuple[Equivalent, ...] = (
    Equivalent(
        LOSSES,
        "turned = np.where(large, exponent + log(2), np.arcsinh(np.exp(np.where(large, 0.0, exponent))))",
        "0.0",
        "1.0",
        "it stands where the other branch is taken, so that nothing overflows",
    ),
    Equivalent(
        CONTRACT,
        "def anonymous(updates: Tensor, *, samples: int = 1) -> Messages:",
        "",
        "",
        "rows that count alike do so with any number",
    ),
    Equivalent(
        POPULATION,
        "chosen = (torch.rand(s.clients, generator=draw) < s.participation).nonzero()[:, 0]",
        "torch.rand(s.clients, generator=draw) < s.participation",
        "torch.rand(s.clients, generator=draw) <= s.participation",
        "one draw in 2^24 hits the chance exactly",
    ),
    Equivalent(
        ADAPTIVE,
        "trial = best + step * axis",
        "best + step * axis",
        "best - step * axis",
        "both signs of each axis are tried, in another order",
    ),
    Equivalent(
        "labsec/study/sweep.py",
        "if jobs == 1 or len(missing) <= 1:",
        "len(missing) <= 1",
        "len(missing) < 1",
        "a single run gets a process of its own, which gives the same",
    ),
    Equivalent(
        "labsec/study/matrix/pages.py",
        "heights = [1.5 + 0.36 * len(mean) for _, mean, _ in tables]",
        "",
        "",
        "how tall a picture is, in inches, is a matter of looks",
    ),
)
