from mmbss.engine.models import count_parameters
from mmbss.studies.classifiers import build_classifier


def test_of_a_distiller_the_student_alone_is_built(resnet_config, write_config, tmp_path):
    losses = dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0))
    teacher = dict(config=resnet_config(width=8), checkpoint='gone.pth')
    model = dict(resnet_config(), type='mmbss.Distiller', teacher=teacher, losses=losses)
    path = write_config(tmp_path / 'distil.py', dict(model=model))
    student = build_classifier(str(path))
    assert type(student).__name__ == 'ImageClassifier'
    assert count_parameters(student) == count_parameters(build_classifier(resnet_config()))
