"""A training step of BSS distillation, transcribed simply, as the authors of the paper ran it.

Facts from github.com/bhheo/BSS_distillation: the attack back-propagates into the weights of the
teacher too, keeps every sample in the batch until all have left their base class, and draws
target classes in a Python loop. It is what the benchmark of mmbss is measured against.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 3.0


class ReferenceStep:
    """One step of the published algorithm.

    Args:
        teacher: Callable (N, C, H, W) to (N, K), in eval mode, parameters asking for gradients.
        student: The same, in training mode.
        optimizer: Of the student's parameters.
        alpha: Weight of the clean distillation.
        beta: Weight of the boundary loss; 0 makes the step plain KD.
        num_base_samples: Most samples attacked in a batch.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        optimizer: torch.optim.Optimizer,
        alpha: float,
        beta: float,
        num_base_samples: int = 64,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.optimizer = optimizer
        self.alpha = alpha
        self.beta = beta
        self.num_base_samples = num_base_samples

    def __call__(self, images: Tensor, labels: Tensor) -> float:
        """Train on one batch of normalised images; returns the loss."""
        self.optimizer.zero_grad()
        student_logits = self.student(images)
        teacher_logits = self.teacher(images)
        loss = F.cross_entropy(student_logits, labels)
        loss = loss + self.alpha * soft_cross_entropy(student_logits, teacher_logits)
        if self.beta > 0:
            chosen = base_samples(student_logits, teacher_logits, labels, self.num_base_samples)
            targets = draw_targets(teacher_logits[chosen])
            boundary = attack(self.teacher, images[chosen], targets)
            loss = loss + self.beta * soft_cross_entropy(
                self.student(boundary), self.teacher(boundary)
            )
        loss.backward()
        self.optimizer.step()
        return loss.item()


def plain_kd_step(
    teacher: nn.Module,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    alpha: float,
    images: Tensor,
    labels: Tensor,
) -> float:
    """Take a step of KD as timm and torchdistill do, without a graph of the teacher.

    Args:
        teacher: Callable (N, C, H, W) to (N, K), in eval mode.
        student: The same, in training mode.
        optimizer: Of the student's parameters.
        alpha: Weight of the distillation.
        images: (N, C, H, W), normalised.
        labels: (N,).

    Returns:
        The loss.
    """
    with torch.no_grad():
        teacher_logits = teacher(images)
    student_logits = student(images)
    divergence = F.kl_div(
        F.log_softmax(student_logits / TEMPERATURE, dim=1),
        F.softmax(teacher_logits / TEMPERATURE, dim=1),
        reduction='batchmean',
    )
    loss = F.cross_entropy(student_logits, labels) + alpha * divergence
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy of the softened probabilities, the mean over the batch."""
    soft = F.softmax(teacher_logits / TEMPERATURE, dim=1).detach()
    return -(soft * F.log_softmax(student_logits / TEMPERATURE, dim=1)).sum() / len(soft)


def base_samples(student: Tensor, teacher: Tensor, labels: Tensor, limit: int) -> Tensor:
    """Indices of the samples both classify correctly, by disagreement on the wrong classes."""
    right = (teacher.argmax(1) == labels) & (student.argmax(1) == labels)
    indices = right.nonzero().flatten()
    squared = (F.softmax(teacher, 1) - F.softmax(student, 1))[indices].detach() ** 2
    score = squared.sum(1) - squared.gather(1, labels[indices].unsqueeze(1)).squeeze(1)
    return indices[score.argsort(descending=True)[:limit]]


def draw_targets(teacher_logits: Tensor) -> Tensor:
    """Draw a target class for each sample by walking through the cumulated probabilities."""
    probabilities, classes = F.softmax(teacher_logits.detach(), 1).sort(dim=1, descending=True)
    probabilities, classes = probabilities[:, 1:], classes[:, 1:]
    thresholds = torch.rand(len(classes)) * probabilities.sum(dim=1)
    cumulated = probabilities.cumsum(dim=1)
    targets = classes[:, 0].clone()
    for sample in range(len(classes)):
        for rank in range(classes.shape[1]):
            if bool(cumulated[sample, rank] >= thresholds[sample]):
                targets[sample] = classes[sample, rank]
                break
    return targets


def attack(
    teacher: nn.Module,
    images: Tensor,
    targets: Tensor,
    num_steps: int = 10,
    step_size: float = 0.3,
    overshoot: float = 1e-4,
    bound: float = 2.5,
) -> Tensor:
    """Move samples until any class beats the base class; the whole batch in every step."""
    samples = images.detach().clone().requires_grad_(True)
    base = None
    for _ in range(num_steps):
        samples.grad = None
        logits = teacher(samples)
        decided = logits.argmax(1)
        base = decided if base is None else base
        of_base = logits.gather(1, base.unsqueeze(1)).squeeze(1)
        of_target = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
        (of_target - of_base).sum().backward()
        moving = (decided == base).float()
        if moving.sum() == 0:
            break
        margin = (of_base - of_target).detach()
        gradient = samples.grad
        norm = gradient.flatten(1).norm(dim=1)
        factor = moving * step_size * (margin + overshoot) / norm
        moved = samples.detach() + factor.view(-1, 1, 1, 1) * gradient
        samples = moved.clamp(-bound, bound).requires_grad_(True)
    return samples.detach()
