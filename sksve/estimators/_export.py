"""One member of a fitted classifier as an ordinary transformers or torch model."""

from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted

from sksve._validation import offered_unless
from sksve.training import MemberModel, merged_model


class ExportMixin:
    """``to_transformers`` and ``to_torch`` of the classifiers with members."""

    _why_no_model = ""  # why a member is no model of its own, and what to do

    @offered_unless(lambda clf: clf._why_no_model)
    def to_transformers(self, member: int = 0) -> Any:
        """One member's backbone as a plain Hugging Face model, its weights merged.

        It is of the backbone's class (``BertModel``, ...), knows nothing of sksve and can be saved
        with its own ``save_pretrained``, served or exported. It gives token vectors; the member's
        head is in :meth:`to_torch`, which gives logits.

        Parameters
        ----------
        member : int, default=0
            In ``[0, n_members)``.

        Returns
        -------
        transformers.PreTrainedModel
            In eval mode, an independent copy; its ``config.id2label`` names the classes.

        Raises
        ------
        ValueError
            If there is no such member.

        Examples
        --------
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
        >>> model = clf.fit(["good film", "bad film"] * 4, [1, 0] * 4).to_transformers(1)
        >>> type(model).__name__, model.config.id2label
        ('BertModel', {0: '0', 1: '1'})
        """
        return self.to_torch(member).model

    @offered_unless(lambda clf: clf._why_no_model)
    def to_torch(self: Any, member: int = 0) -> MemberModel:
        """One member, backbone and head, as an ordinary torch module: token ids to logits.

        Parameters
        ----------
        member : int, default=0
            In ``[0, n_members)``.

        Returns
        -------
        MemberModel
            A torch module with ``model`` (what :meth:`to_transformers` gives), ``head`` (a
            ``torch.nn.Linear``) and ``pooling``; in eval mode, an independent copy. The softmax of
            its logits is the member's part of ``predict_proba_members``.

        Raises
        ------
        ValueError
            If there is no such member.

        Examples
        --------
        For a server, or for ONNX with ``torch.onnx.export``, which takes the same arguments as
        ``torch.export.export`` here:

        >>> import torch
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> model, tokenizer = make_tiny_backbone()
        >>> clf = SVEClassifier((model, tokenizer), n_members=2, max_epochs=1, random_state=0)
        >>> member = clf.fit(["good film", "bad film"] * 4, [1, 0] * 4).to_torch(1)
        >>> batch = tokenizer(["good film", "bad"], padding=True, return_tensors="pt")
        >>> inputs = (batch["input_ids"], batch["attention_mask"])
        >>> member(*inputs).softmax(dim=-1).shape
        torch.Size([2, 2])
        >>> rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens", max=128)
        >>> shapes = ({0: rows, 1: tokens}, {0: rows, 1: tokens})
        >>> exported = torch.export.export(member, inputs, dynamic_shapes=shapes)
        """
        check_is_fitted(self)
        n = self._n_merged()
        if not isinstance(member, Integral) or isinstance(member, bool) or not 0 <= member < n:
            raise ValueError(f"'member' must be an int in the range [0, {n}). Got {member!r}.")
        merged = self._merge(int(member))
        config: Any = merged.model.config
        config.id2label = {code: str(label) for code, label in enumerate(self.classes_.tolist())}
        config.label2id = {label: code for code, label in config.id2label.items()}
        return merged

    @offered_unless(lambda clf: clf._why_no_model)
    def export_onnx(self: Any, path: Any) -> Path:
        """Write the whole ensemble as one ONNX file, which :func:`sksve.onnx.load` runs without torch.

        Inputs are token ids and mask (or pixel values) and, of tables, side features; outputs are the
        members' and the pooled probabilities, the parts of the uncertainty, and novelty, for any number of
        rows and tokens.
        The frozen weights are in the file once. Needs the extra ``onnx``.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        pathlib.Path
            The same.

        Raises
        ------
        ImportError
            If onnxscript is not installed.
        ValueError
            If the classifier cannot be exported: pairs of texts, windows of long texts, tables without text.
        """
        check_is_fitted(self)
        from sksve.onnx._graph import export

        return export(self, path)

    def _n_merged(self: Any) -> int:
        return len(self.net_.member_ids)

    def _merge(self: Any, member: int) -> MemberModel:
        return merged_model(self.net_.module_, member)
