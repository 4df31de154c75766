import pytest
import torch
from torch import nn

from mmbss.metrics import BoundaryDistance
from mmbss.metrics.boundary_distance import boundary_distance


def test_distances_of_a_linear_network_are_those_of_the_closed_form():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    lowest, highest = torch.tensor([-2.0]).view(1, 1, 1), torch.tensor([3.0]).view(1, 1, 1)
    # within the bounds, so close to the boundary that these do not matter
    samples = 0.5 + 0.1 * torch.randn(40, 1, 2, 2)
    with torch.no_grad():
        logits = model(samples)
    base = logits.argmax(dim=1)
    found = boundary_distance(model, samples, base, (lowest, highest))
    weight = model[1].weight.detach()
    checked = 0
    for row in range(40):
        distances = [
            float(
                (logits[row, base[row]] - logits[row, k]) / (weight[base[row]] - weight[k]).norm()
            )
            for k in range(3)
            if k != base[row]
        ]
        if min(distances) > 0.5:
            continue
        checked += 1
        # one unit of the normalised samples is a fifth of [0, 1]; the way found may lead to the
        # class that is second most probable instead of the nearest one, and ends beyond
        assert min(distances) / 5 <= found[row] * (1 + 1e-4)
        assert found[row] <= max(distances) / 5 + 0.05
    assert checked > 10


def test_the_unit_is_that_of_images_in_zero_to_one():
    weight = torch.tensor([[1.0], [-1.0]])
    for lowest, highest in ((0.0, 1.0), (0.0, 255.0), (-2.0, 2.0)):
        extent = highest - lowest
        # the boundary lies at 0.6 of the way from black to white

        def model(samples, lowest=lowest, extent=extent):
            return 50 * ((samples - lowest) / extent - 0.6).flatten(1) @ weight.T

        samples = torch.full((1, 1, 1, 1), lowest + 0.9 * extent)
        found = boundary_distance(model, samples, torch.tensor([0]), (lowest, highest))
        assert found.item() == pytest.approx(0.3, abs=1e-3)


def test_where_no_way_out_is_found_the_distance_is_infinite():
    def model(samples):
        return torch.stack([samples.sum(dim=(1, 2, 3)) * 0 + 1, samples.sum(dim=(1, 2, 3)) * 0], 1)

    found = boundary_distance(model, torch.ones(2, 1, 2, 2), torch.tensor([0, 0]), (0.0, 1.0))
    assert found.isinf().all()


def test_medians_are_those_of_samples_that_both_classify_correctly(
    evaluate, student, digits, digits_teacher
):
    metric = BoundaryDistance(teacher=digits_teacher)
    metrics = evaluate(metric)
    inputs = student.data_preprocessor(dict(inputs=digits[0], data_samples=digits[1]))['inputs']
    labels = torch.cat([sample.gt_label for sample in digits[1]])
    networks = dict(student=lambda x: student(x, mode='tensor'), teacher=metric.teacher.logits)
    with torch.no_grad():
        both = torch.stack([network(inputs).argmax(1) == labels for network in networks.values()])
        both = both.all(dim=0)
        assert metrics['boundary_distance/samples'] == int(both.sum()) < len(labels)
        for role, network in networks.items():
            found = boundary_distance(
                network, inputs[both], labels[both], metric.teacher.pixel_bounds
            )
            values = sorted(found.tolist())
            middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
            assert metrics[f'boundary_distance/{role}'] == pytest.approx(middle, rel=1e-3)


def test_a_median_that_does_not_exist_is_left_out():
    metric = BoundaryDistance(teacher=dict(config={}, checkpoint=''))
    values = dict(
        student=torch.tensor([0.1, torch.inf, torch.inf]), teacher=torch.tensor([0.3, 0.2, 0.1])
    )
    assert metric.summarise(values) == dict(samples=3, teacher=pytest.approx(0.2))
    assert metric.compute_metrics([]) == dict(samples=0)
