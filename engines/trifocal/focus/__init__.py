"""Where does ultrasound land inside this skull? Free field, hybrid angular spectrum, solver."""
