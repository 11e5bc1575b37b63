//! What may be asked of labyard: resources, attributes, validation.
